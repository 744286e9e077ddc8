// What happens to a shard of weights after the backward pass, four values an invocation. No update is made when a
// gradient anywhere is not finite, or when all together are longer than a limit.
//   weights, gradient, moment1, moment2, teacher  [len]
//   settings  [11]  learning rate, weight decay, beta1, beta2, 1 - beta1, 1 - beta2, epsilon, 1/(1 - beta1^t),
//                  1/sqrt(1 - beta2^t), 1 - EMA decay, most sum of squares (see `Settings` in ops/optimiser.rs)
//   health    [2]  sum of squared gradients, number of values that are not finite
//   partial   [ceil(len / chunk), 2]
#include "common/grid.wgsl"
struct Params { len: u32, decayed: u32, chunk: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read> settings: array<f32>;
@group(0) @binding(3) var<storage, read> health: array<f32>;
@group(0) @binding(4) var<storage, read_write> weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> moment1: array<f32>;
@group(0) @binding(6) var<storage, read_write> moment2: array<f32>;

fn refused() -> bool { return health[1] > 0.0 || health[0] > settings[10]; }

// Sums of squares, and a count of infinities and NaNs by their bits: WGSL lets a compiler assume that x == x.
@compute @workgroup_size(64)
fn square_sum(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let chunk = grid_index(id, groups);
    let first = chunk * params.chunk;
    if first >= params.len { return; }
    var sum = 0.0;
    var bad = 0.0;
    for (var i = first; i < min(first + params.chunk, params.len); i++) {
        let g = gradient[i];
        sum = fma(g, g, sum);
        if (bitcast<u32>(g) & 0x7f800000u) == 0x7f800000u { bad += 1.0; }
    }
    weights[chunk * 2u] = sum;
    weights[chunk * 2u + 1u] = bad;
}

@compute @workgroup_size(64)
fn adamw(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let first = grid_index(id, groups) * 4u;
    if first >= params.len || refused() { return; }
    let rate = settings[0];
    let decay = rate * settings[1];
    let keep1 = settings[2];
    let keep2 = settings[3];
    let rest1 = settings[4];
    let rest2 = settings[5];
    let eps = settings[6];
    let step = rate * settings[7];
    let correction2 = settings[8];
    for (var i = first; i < min(first + 4u, params.len); i++) {
        let g = gradient[i];
        var w = weights[i];
        if i < params.decayed { w -= decay * w; }
        let m = fma(keep1, moment1[i], rest1 * g);
        let v = fma(keep2, moment2[i], rest2 * g * g);
        weights[i] = w - step * m / (sqrt(v) * correction2 + eps);
        moment1[i] = m;
        moment2[i] = v;
    }
}

// teacher += (1 - decay) * (weights - teacher); the weights are bound as `gradient`, the teacher as `weights`.
@compute @workgroup_size(64)
fn ema(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let first = grid_index(id, groups) * 4u;
    if first >= params.len || refused() { return; }
    let rest = settings[9];
    for (var i = first; i < min(first + 4u, params.len); i++) {
        let teacher = weights[i];
        weights[i] = fma(rest, gradient[i] - teacher, teacher);
    }
}

// Gradients of micro-batches add up; the first one (settings[0] = 0) replaces what was there.
@compute @workgroup_size(64)
fn accumulate(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let first = grid_index(id, groups) * 4u;
    if first >= params.len { return; }
    let anew = settings[0] == 0.0;
    for (var i = first; i < min(first + 4u, params.len); i++) {
        if anew { weights[i] = gradient[i]; } else { weights[i] += gradient[i]; }
    }
}
