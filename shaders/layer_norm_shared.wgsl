// Layer normalisation with one workgroup a row, for GPUs: neighbouring invocations read neighbouring vec4s of columns, a
// multiple of which there must be. Sums for gain and bias are those of `layer_norm_vec4.wgsl`.
#include "common/layer_norm.wgsl"
#include "common/stored_vec4.wgsl"
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> saved: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<Stored>;
@group(0) @binding(6) var<storage, read_write> y: array<Stored>;
@group(0) @binding(7) var<storage, read_write> stats: array<f32>;
@group(0) @binding(10) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(11) var<storage, read> residual: array<vec4<f32>>;
const GROUP: u32 = 64u;

var<workgroup> held: array<vec2<f32>, GROUP>;

fn total_of(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

// The sum over the workgroup, in an order that never changes.
fn total(own: vec2<f32>, local: u32) -> vec2<f32> {
    workgroupBarrier(); // every invocation has read the last sum
    held[local] = own;
    workgroupBarrier();
    for (var half = GROUP / 2u; half > 0u; half /= 2u) {
        if local < half { held[local] += held[local + half]; }
        workgroupBarrier();
    }
    return held[0];
}

@compute @workgroup_size(GROUP)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.y * groups.x + group.x;
    if row >= params.rows { return; }
    let vec4s = params.cols / 4u;
    let at = row * vec4s;
    var sum = vec4(0.0);
    for (var c = local.x; c < vec4s; c += GROUP) { sum += x[at + c]; }
    let mean = total(vec2(total_of(sum), 0.0), local.x).x / f32(params.cols);
    var square = vec4(0.0);
    for (var c = local.x; c < vec4s; c += GROUP) {
        let d = x[at + c] - mean;
        square = fma(d, d, square);
    }
    let scale = 1.0 / sqrt(total(vec2(total_of(square), 0.0), local.x).x / params.divisor + params.eps);
    for (var c = local.x; c < vec4s; c += GROUP) {
        var v = (x[at + c] - mean) * scale;
        if AFFINE == 1u { v = fma(v, gain[c], bias[c]); }
        y[at + c] = stored(v);
    }
    if local.x == 0u {
        stats[row * 2u] = mean;
        stats[row * 2u + 1u] = scale;
    }
}

// As in `layer_norm_scalar.wgsl`.
@compute @workgroup_size(GROUP)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.y * groups.x + group.x;
    if row >= params.rows { return; }
    let vec4s = params.cols / 4u;
    let at = row * vec4s;
    let mean = saved[row * 2u];
    let scale = saved[row * 2u + 1u];
    var own = vec2(0.0);
    for (var c = local.x; c < vec4s; c += GROUP) {
        var g = loaded(dy[at + c]);
        if AFFINE == 1u { g *= gain[c]; }
        own += vec2(total_of(g), dot(g, (x[at + c] - mean) * scale));
    }
    let sums = total(own, local.x) / vec2(f32(params.cols), params.divisor);
    for (var c = local.x; c < vec4s; c += GROUP) {
        var g = loaded(dy[at + c]);
        if AFFINE == 1u { g *= gain[c]; }
        var d = scale * (g - sums.x - (x[at + c] - mean) * scale * sums.y);
        if ADDS == 1u { d += residual[at + c]; }
        dx[at + c] = d;
    }
}
