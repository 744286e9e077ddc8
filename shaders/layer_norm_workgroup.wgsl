// Layer normalisation with one workgroup a row, for GPUs: neighbouring invocations read neighbouring columns.
#include "common/layer_norm_scalar.wgsl"
const GROUP: u32 = 64u;

var<workgroup> held: array<vec2<f32>, GROUP>;

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
    let at = row * params.cols;
    var sum = 0.0;
    for (var c = local.x; c < params.cols; c += GROUP) { sum += x[at + c]; }
    let mean = total(vec2(sum, 0.0), local.x).x / f32(params.cols);
    var square = 0.0;
    for (var c = local.x; c < params.cols; c += GROUP) {
        let d = x[at + c] - mean;
        square = fma(d, d, square);
    }
    let scale = 1.0 / sqrt(total(vec2(square, 0.0), local.x).x / params.divisor + params.eps);
    for (var c = local.x; c < params.cols; c += GROUP) {
        var v = (x[at + c] - mean) * scale;
        if AFFINE == 1u { v = fma(v, gain[c], bias[c]); }
        y[at + c] = v;
    }
    if local.x == 0u {
        stats[row * 2u] = mean;
        stats[row * 2u + 1u] = scale;
    }
}

// As in `layer_norm.wgsl`.
@compute @workgroup_size(GROUP)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.y * groups.x + group.x;
    if row >= params.rows { return; }
    let at = row * params.cols;
    let mean = saved[row * 2u];
    let scale = saved[row * 2u + 1u];
    var own = vec2(0.0);
    for (var c = local.x; c < params.cols; c += GROUP) {
        var g = dy[at + c];
        if AFFINE == 1u { g *= gain[c]; }
        own += vec2(g, g * (x[at + c] - mean) * scale);
    }
    let sums = total(own, local.x) / vec2(f32(params.cols), params.divisor);
    for (var c = local.x; c < params.cols; c += GROUP) {
        var g = dy[at + c];
        if AFFINE == 1u { g *= gain[c]; }
        y[at + c] = scale * (g - sums.x - (x[at + c] - mean) * scale * sums.y);
    }
}
