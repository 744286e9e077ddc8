// What happens to a shard of weights after the backward pass, four values an invocation. No update is made when a
// gradient anywhere is not finite, or when all together are longer than a limit.
//   weights, gradient, moment1, moment2, teacher  [len]
//   settings  [11]  learning rate, weight decay, beta1, beta2, 1 - beta1, 1 - beta2, epsilon, 1/(1 - beta1^t),
//                  1/sqrt(1 - beta2^t), 1 - EMA decay, most sum of squares (see `Settings` in ops/optimiser.rs)
//   health    [2]  sum of squared gradients, number of values that are not finite; or [3], then 1 / loss scale
//   partial   [ceil(len / chunk), 2], chunk a multiple of 4
//   apart     [.., 2]  sums of (teacher - student)^2 and of student^2 after the update, a row an invocation, over two runs
//                  of values
#include "common/grid.wgsl"
#include "common/fours.wgsl"
#include "common/many_fours.wgsl"
struct Params { len: u32, decayed: u32, chunk: u32, scaled: u32, first: u32, end: u32, more_first: u32, more_end: u32 }
const SETTINGS: u32 = 11u;
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<Four>;
@group(0) @binding(2) var<storage, read> settings: array<f32>;
@group(0) @binding(3) var<storage, read> health: array<f32>;
@group(0) @binding(4) var<storage, read_write> weights: array<Four>;
@group(0) @binding(5) var<storage, read_write> moment1: array<Four>;
@group(0) @binding(6) var<storage, read_write> moment2: array<Four>;
@group(0) @binding(7) var<storage, read_write> teacher: array<Four>;
@group(0) @binding(8) var<storage, read_write> apart: array<vec2<f32>>;

// Settings and health[2], read once an invocation: to a software adapter each read is one of every lane.
var<private> setting: array<f32, SETTINGS>;
var<private> unscale: f32;
var<private> between: vec4<f32>;
var<private> long: vec4<f32>;

fn refused() -> bool { return health[1] > 0.0 || health[0] > settings[10]; }

fn read_settings() {
    // unroll
    for (var s = 0u; s < SETTINGS; s++) { setting[s] = settings[s]; }
    unscale = 1.0;
    if params.scaled == 1u { unscale = health[2]; }
}

// Sums of squares, and a count of infinities and NaNs by their bits: WGSL lets a compiler assume that x == x. The sums are
// bound as `weights`, two chunks' a vector.
@compute @workgroup_size(64)
fn square_sum(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let pair = grid_index(id, groups);
    let chunks = (params.len + params.chunk - 1u) / params.chunk;
    if pair * 2u >= chunks { return; }
    let first = square_sum_of(pair * 2u);
    let second = square_sum_of(pair * 2u + 1u);
    weights[pair] = stored(vec4(first, second));
}

fn square_sum_of(chunk: u32) -> vec2<f32> {
    let first = chunk * params.chunk / 4u;
    let end = min(first + params.chunk / 4u, (params.len + 3u) / 4u);
    var sums = vec4(0.0);
    var bad = vec4(0.0);
    for (var i = first; i < end; i++) {
        let g = up_to(loaded(gradient[i]), i, params.len);
        sums = fma(g, g, sums);
        bad += select(vec4(0.0), vec4(1.0), (bitcast<vec4<u32>>(g) & vec4(0x7f800000u)) == vec4(0x7f800000u));
    }
    return vec2((sums.x + sums.y) + (sums.z + sums.w), (bad.x + bad.y) + (bad.z + bad.w));
}

// Returns the new weights.
fn update(i: u32) -> vec4<f32> {
    let rate = setting[0];
    let decay = rate * setting[1];
    let keep1 = vec4(setting[2]);
    let keep2 = vec4(setting[3]);
    let rest1 = setting[4];
    let rest2 = setting[5];
    let eps = setting[6];
    let step = rate * setting[7];
    let correction2 = setting[8];
    let g = loaded(gradient[i]) * unscale;
    let held = loaded(weights[i]);
    let w = held - up_to(decay * held, i, params.decayed);
    let m = fma(keep1, loaded(moment1[i]), rest1 * g);
    let v = fma(keep2, loaded(moment2[i]), rest2 * g * g);
    let updated = up_to(w - step * m / (sqrt(v) * correction2 + eps), i, params.len);
    weights[i] = stored(updated);
    moment1[i] = stored(up_to(m, i, params.len));
    moment2[i] = stored(up_to(v, i, params.len));
    return updated;
}

// teacher += (1 - decay) * (student - teacher)
fn follow(student: vec4<f32>, i: u32) {
    let held = loaded(teacher[i]);
    let moved = up_to(fma(vec4(setting[9]), student - held, held), i, params.len);
    teacher[i] = stored(moved);
    measure(moved, student, i);
}

fn measure(moved: vec4<f32>, student: vec4<f32>, i: u32) {
    let at = i * 4u;
    if (at >= params.first && at < params.end) || (at >= params.more_first && at < params.more_end) {
        let distance = moved - student;
        between = fma(distance, distance, between);
        long = fma(student, student, long);
    }
}

fn store_distance(row: u32) {
    if row / 64u * 256u * FOURS >= params.len { return; }
    apart[row] = vec2((between.x + between.y) + (between.z + between.w), (long.x + long.y) + (long.z + long.w));
}

@compute @workgroup_size(64)
fn adamw(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    if i * 4u >= params.len || refused() { return; }
    read_settings();
    update(i);
}

// The weights are bound as `gradient`.
@compute @workgroup_size(64)
fn ema(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = (group.y * groups.x + group.x) * 64u + local.x;
    let first = first_four(row);
    let refuses = refused();
    read_settings();
    for (var n = 0u; n < FOURS; n++) {
        let i = first + n * ACROSS;
        if i * 4u < params.len {
            if refuses { measure(loaded(teacher[i]), loaded(gradient[i]), i); } else { follow(loaded(gradient[i]), i); }
        }
    }
    store_distance(row);
}

// Both, so that the new weights are not read again.
@compute @workgroup_size(64)
fn adamw_ema(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = (group.y * groups.x + group.x) * 64u + local.x;
    let first = first_four(row);
    if refused() {
        for (var n = 0u; n < FOURS; n++) {
            let i = first + n * ACROSS;
            if i * 4u < params.len { measure(loaded(teacher[i]), loaded(weights[i]), i); }
        }
    } else {
        read_settings();
        for (var n = 0u; n < FOURS; n++) {
            let i = first + n * ACROSS;
            if i * 4u < params.len { follow(update(i), i); }
        }
    }
    store_distance(row);
}

// Gradients of micro-batches add up; the first one (settings[0] = 0) replaces what was there.
@compute @workgroup_size(64)
fn accumulate(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    if i * 4u >= params.len { return; }
    let g = loaded(gradient[i]);
    weights[i] = stored(up_to(select(loaded(weights[i]) + g, g, settings[0] == 0.0), i, params.len));
}
