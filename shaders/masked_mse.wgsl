// The weighted squared error over masked patches: loss = mean over rows of weight * mean over columns of (x - target)^2.
//   x, target, dx  [rows, cols]
//   weight         [rows]
//   per_row        [rows]
//   loss, dloss    [1]
#include "common/grid.wgsl"
struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> wanted: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> dloss: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;
var<workgroup> partial: array<f32, 64>;

fn total(own: f32, local: u32) -> f32 {
    partial[local] = own;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half { partial[local] += partial[local + half]; }
        workgroupBarrier();
    }
    return partial[0];
}

fn gradient_scale(row: u32) -> f32 {
    return 2.0 * dloss[0] / (f32(params.rows) * f32(params.cols)) * weight[row];
}

@compute @workgroup_size(64)
fn row_error(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = grid_index(id, groups);
    if row >= params.rows { return; }
    var sum = 0.0;
    for (var c = 0u; c < params.cols; c++) {
        let d = x[row * params.cols + c] - wanted[row * params.cols + c];
        sum = fma(d, d, sum);
    }
    y[row] = weight[row] * sum / f32(params.cols);
}

// The same, and the gradient.
@compute @workgroup_size(64)
fn row_gradient(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = grid_index(id, groups);
    if row >= params.rows { return; }
    let scale = gradient_scale(row);
    var sum = 0.0;
    for (var c = 0u; c < params.cols; c++) {
        let at = row * params.cols + c;
        let d = x[at] - wanted[at];
        sum = fma(d, d, sum);
        dx[at] = scale * d;
    }
    y[row] = weight[row] * sum / f32(params.cols);
}

// The same with a workgroup a row, so that neighbours read and write side by side.
@compute @workgroup_size(64)
fn group_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.y * groups.x + group.x;
    if row >= params.rows { return; }
    let scale = gradient_scale(row);
    var sum = 0.0;
    for (var c = local.x; c < params.cols; c += 64u) {
        let at = row * params.cols + c;
        let d = x[at] - wanted[at];
        sum = fma(d, d, sum);
        dx[at] = scale * d;
    }
    let squares = total(sum, local.x);
    if local.x == 0u { y[row] = weight[row] * squares / f32(params.cols); }
}

// One workgroup adds all rows: strided sums, then a fixed tree.
@compute @workgroup_size(64)
fn mean(@builtin(local_invocation_id) local: vec3<u32>) {
    var sum = 0.0;
    for (var row = local.x; row < params.rows; row += 64u) { sum += x[row]; }
    let all = total(sum, local.x);
    if local.x == 0u { y[0] = all / f32(params.rows); }
}

@compute @workgroup_size(64)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    if index >= params.rows * params.cols { return; }
    y[index] = gradient_scale(index / params.cols) * (x[index] - wanted[index]);
}
