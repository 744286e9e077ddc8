// As `layer_norm_scalar.wgsl`, a row an invocation, but values are loaded and stored four by four. cols is a multiple of 4.
#include "common/layer_norm.wgsl"
#include "common/stored_vec4.wgsl"
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> saved: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<Stored>;
@group(0) @binding(6) var<storage, read_write> y: array<Stored>;
@group(0) @binding(7) var<storage, read_write> stats: array<f32>;
@group(0) @binding(8) var<storage, read_write> gain_sum: array<vec4<f32>>;
@group(0) @binding(9) var<storage, read_write> bias_sum: array<vec4<f32>>;
@group(0) @binding(10) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(11) var<storage, read> residual: array<vec4<f32>>;
const GROUP: u32 = 4u;

fn total_of(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

fn index_of(id: vec3<u32>, groups: vec3<u32>) -> u32 {
    return id.x + id.y * groups.x * GROUP;
}

@compute @workgroup_size(GROUP)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = index_of(id, groups);
    if row >= params.rows { return; }
    let vec4s = params.cols / 4u;
    let at = row * vec4s;
    var sums = vec4(0.0);
    for (var c = 0u; c < vec4s; c++) { sums += x[at + c]; }
    let mean = total_of(sums) / f32(params.cols);
    var squares = vec4(0.0);
    for (var c = 0u; c < vec4s; c++) {
        let d = x[at + c] - mean;
        squares = fma(d, d, squares);
    }
    let scale = 1.0 / sqrt(total_of(squares) / params.divisor + params.eps);
    for (var c = 0u; c < vec4s; c++) {
        var v = (x[at + c] - mean) * scale;
        if AFFINE == 1u { v = fma(v, gain[c], bias[c]); }
        y[at + c] = stored(v);
    }
    stats[row * 2u] = mean;
    stats[row * 2u + 1u] = scale;
}

@compute @workgroup_size(GROUP)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = index_of(id, groups);
    if row >= params.rows { return; }
    let vec4s = params.cols / 4u;
    let at = row * vec4s;
    let mean = saved[row * 2u];
    let scale = saved[row * 2u + 1u];
    var sums = vec4(0.0);
    var dots = vec4(0.0);
    for (var c = 0u; c < vec4s; c++) {
        var g = loaded(dy[at + c]);
        if AFFINE == 1u { g *= gain[c]; }
        sums += g;
        dots = fma(g, (x[at + c] - mean) * scale, dots);
    }
    let sum = total_of(sums) / f32(params.cols);
    let dot = total_of(dots) / params.divisor;
    for (var c = 0u; c < vec4s; c++) {
        var g = loaded(dy[at + c]);
        if AFFINE == 1u { g *= gain[c]; }
        var d = scale * (g - sum - (x[at + c] - mean) * scale * dot);
        if ADDS == 1u { d += residual[at + c]; }
        dx[at + c] = d;
    }
}

// Stored columns of one chunk of rows an invocation.
@compute @workgroup_size(GROUP)
fn affine_sums(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = index_of(id, groups);
    let vec4s = params.cols / 4u;
    let first = index / vec4s * params.chunk;
    if first >= params.rows { return; }
    var to_gain = vec4(0.0);
    var to_bias = vec4(0.0);
    for (var row = first; row < min(first + params.chunk, params.rows); row++) {
        let at = row * vec4s + index % vec4s;
        let slope = loaded(dy[at]);
        to_gain = fma(slope, (x[at] - saved[row * 2u]) * saved[row * 2u + 1u], to_gain);
        to_bias += slope;
    }
    gain_sum[index] = to_gain;
    bias_sum[index] = to_bias;
}
