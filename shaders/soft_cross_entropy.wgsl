// The cross-entropy of soft targets: loss = mean over rows of -sum over columns of t * log(softmax(z)). And the share
// of rows whose largest logit stands where the largest target does.
//   z, t, dz     [rows, cols]  logits and targets
//   per_row      [rows]
//   stats        [rows, 2]     m, the largest logit; sum of t / sum of exp(z - m)
//   loss, dloss  [1]
#include "common/grid.wgsl"
struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> t: array<f32>;
@group(0) @binding(3) var<storage, read> stats: array<f32>;
@group(0) @binding(4) var<storage, read> dloss: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> to_stats: array<f32>;
const LOWEST: f32 = -3.4028234663852886e38;

// A value and the column it stands in.
struct Best { value: f32, column: u32 }

var<workgroup> sums: array<vec3<f32>, 64>;
var<workgroup> bests: array<Best, 64>;

// The sum over the workgroup, in an order that never changes.
fn total(own: vec3<f32>, local: u32) -> vec3<f32> {
    sums[local] = own;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half { sums[local] += sums[local + half]; }
        workgroupBarrier();
    }
    return sums[0];
}

// The larger of two, of equal ones the one in the lower column.
fn better(a: Best, b: Best) -> Best {
    if b.value > a.value || (b.value == a.value && b.column < a.column) { return b; }
    return a;
}

// The best of the workgroup.
fn best(own: Best, local: u32) -> Best {
    workgroupBarrier(); // every invocation has read the last best
    bests[local] = own;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half { bests[local] = better(bests[local], bests[local + half]); }
        workgroupBarrier();
    }
    return bests[0];
}

// A row a workgroup.
@compute @workgroup_size(64)
fn row_loss(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.y * groups.x + group.x;
    if row >= params.rows { return; }
    var own = Best(LOWEST, 0u);
    for (var c = local.x; c < params.cols; c += 64u) { own.value = max(own.value, z[row * params.cols + c]); }
    let top = best(own, local.x).value;
    // Of exp(z - m), of t, and of t * (m - z).
    var parts = vec3(0.0);
    for (var c = local.x; c < params.cols; c += 64u) {
        let below = top - z[row * params.cols + c];
        let share = t[row * params.cols + c];
        parts += vec3(exp(-below), share, share * below);
    }
    let all = total(parts, local.x);
    if local.x == 0u {
        y[row] = fma(all.y, log(all.x), all.z);
        to_stats[row * 2u] = top;
        to_stats[row * 2u + 1u] = all.y / all.x;
    }
}

// A row a workgroup.
@compute @workgroup_size(64)
fn row_hit(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.y * groups.x + group.x;
    if row >= params.rows { return; }
    var logit = Best(LOWEST, params.cols);
    var share = Best(LOWEST, params.cols);
    for (var c = local.x; c < params.cols; c += 64u) {
        logit = better(logit, Best(z[row * params.cols + c], c));
        share = better(share, Best(t[row * params.cols + c], c));
    }
    let found = best(logit, local.x).column;
    let wanted = best(share, local.x).column;
    if local.x == 0u { y[row] = select(0.0, 1.0, found == wanted); }
}

// One workgroup adds what each row has, here bound to z: strided sums, then a fixed tree.
@compute @workgroup_size(64)
fn mean(@builtin(local_invocation_id) local: vec3<u32>) {
    var sum = 0.0;
    for (var row = local.x; row < params.rows; row += 64u) { sum += z[row]; }
    let all = total(vec3(sum, 0.0, 0.0), local.x).x;
    if local.x == 0u { y[0] = all / f32(params.rows); }
}

@compute @workgroup_size(64)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    if index >= params.rows * params.cols { return; }
    let row = index / params.cols;
    let softmax = exp(z[index] - stats[row * 2u]) * stats[row * 2u + 1u];
    y[index] = (softmax - t[index]) * dloss[0] / f32(params.rows);
}
