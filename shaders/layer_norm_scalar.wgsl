// Normalisation over the last axis with optional gain and bias; one row an invocation, so that no barrier is needed.
#include "common/grid.wgsl"
#include "common/layer_norm.wgsl"

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> saved: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read_write> stats: array<f32>;
@group(0) @binding(11) var<storage, read> residual: array<f32>;
@group(0) @binding(8) var<storage, read_write> gain_sum: array<f32>;
@group(0) @binding(9) var<storage, read_write> bias_sum: array<f32>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = grid_index(id, groups);
    if row >= params.rows { return; }
    let at = row * params.cols;
    var sum = 0.0;
    for (var c = 0u; c < params.cols; c++) { sum += x[at + c]; }
    let mean = sum / f32(params.cols);
    var square = 0.0;
    for (var c = 0u; c < params.cols; c++) {
        let d = x[at + c] - mean;
        square = fma(d, d, square);
    }
    let scale = 1.0 / sqrt(square / params.divisor + params.eps);
    for (var c = 0u; c < params.cols; c++) {
        var v = (x[at + c] - mean) * scale;
        if AFFINE == 1u { v = fma(v, gain[c], bias[c]); }
        y[at + c] = v;
    }
    stats[row * 2u] = mean;
    stats[row * 2u + 1u] = scale;
}

// dx = scale * (g - mean(g) - n * mean(g * n)) with n the normalised row and g = dy * gain.
@compute @workgroup_size(64)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = grid_index(id, groups);
    if row >= params.rows { return; }
    let at = row * params.cols;
    let mean = saved[row * 2u];
    let scale = saved[row * 2u + 1u];
    var sum = 0.0;
    var dot = 0.0;
    for (var c = 0u; c < params.cols; c++) {
        var g = dy[at + c];
        if AFFINE == 1u { g *= gain[c]; }
        sum += g;
        dot = fma(g, (x[at + c] - mean) * scale, dot);
    }
    sum /= f32(params.cols);
    dot /= params.divisor;
    for (var c = 0u; c < params.cols; c++) {
        var g = dy[at + c];
        if AFFINE == 1u { g *= gain[c]; }
        var d = scale * (g - sum - (x[at + c] - mean) * scale * dot);
        if ADDS == 1u { d += residual[at + c]; }
        y[at + c] = d;
    }
}

// One column of one chunk of rows an invocation.
@compute @workgroup_size(64)
fn affine_sums(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    let column = index % params.cols;
    let first = index / params.cols * params.chunk;
    if first >= params.rows { return; }
    var to_gain = 0.0;
    var to_bias = 0.0;
    for (var row = first; row < min(first + params.chunk, params.rows); row++) {
        let slope = dy[row * params.cols + column];
        let normalised = (x[row * params.cols + column] - saved[row * 2u]) * saved[row * 2u + 1u];
        to_gain = fma(slope, normalised, to_gain);
        to_bias += slope;
    }
    gain_sum[index] = to_gain;
    bias_sum[index] = to_bias;
}
