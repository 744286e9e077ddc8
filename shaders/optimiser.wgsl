// What happens to a shard of weights after the backward pass. No update is made when a gradient anywhere is not finite, or
// when all together are longer than a limit. Values are loaded and stored by packs.
//   weights, gradient, moment1, moment2, teacher  [len]
//   settings  [11]  learning rate, weight decay, beta1, beta2, 1 - beta1, 1 - beta2, epsilon, 1/(1 - beta1^t),
//                  1/sqrt(1 - beta2^t), 1 - EMA decay, most sum of squares (see `Settings` in ops/optimiser.rs)
//   health    [2]  sum of squared gradients, number of values that are not finite; or [3], then 1 / loss scale
//   partial   [ceil(len / chunk), 2], chunk a multiple of 4 * PARTS
//   apart     [.., 2]  sums of (teacher - student)^2 and of student^2 after the update, PARTS rows an invocation, over two
//                  runs of values
#include "common/grid.wgsl"
#include "common/vec4s.wgsl"
#include "common/stored_vec4.wgsl"
#include "common/packs.wgsl"
#include "common/many_vec4s.wgsl"
// A parameter group is a run of values up to the next one: x, where it begins, in vec4s of values; y and z, the bits of what
// learning rate and weight decay are multiplied by.
struct Params {
    len: u32, chunk: u32, scaled: u32, first: u32, end: u32, more_first: u32, more_end: u32,
    count: u32, groups: array<vec4<u32>, GROUPS>,
}
const GROUPS: u32 = 64u;
const SETTINGS: u32 = 11u;
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<Pack>;
@group(0) @binding(2) var<storage, read> settings: array<f32>;
@group(0) @binding(3) var<storage, read> health: array<f32>;
@group(0) @binding(4) var<storage, read_write> weights: array<Pack>;
@group(0) @binding(5) var<storage, read_write> moment1: array<Pack>;
@group(0) @binding(6) var<storage, read_write> moment2: array<Pack>;
@group(0) @binding(7) var<storage, read_write> teacher: array<Pack>;
@group(0) @binding(8) var<storage, read_write> apart: array<vec2<f32>>;

// Settings and health[2], read once an invocation, outside of branches: to a software adapter each read is one of every lane,
// unless it knows that all lanes read the same.
var<private> setting: array<f32, SETTINGS>;
var<private> unscale: f32;
var<private> between: array<vec4<f32>, PARTS>;
var<private> long: array<vec4<f32>, PARTS>;

// Returns whether no update is to be made.
fn read_settings() -> bool {
    let square = health[0];
    let bad = health[1];
    // unroll
    for (var s = 0u; s < SETTINGS; s++) { setting[s] = settings[s]; }
    unscale = 1.0;
    if params.scaled == 1u { unscale = health[2]; }
    return bad > 0.0 || square > setting[10];
}

// Sums of squares, and a count of infinities and NaNs by their bits: WGSL lets a compiler assume that x == x. The sums are
// bound as `weights`, those of PARTS pairs of chunks side by side.
@compute @workgroup_size(64)
fn square_sum(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    let chunks = (params.len + params.chunk - 1u) / params.chunk;
    if index * 2u * PARTS >= chunks { return; }
    var sums: array<vec4<f32>, PARTS>;
    for (var p = 0u; p < PARTS; p++) {
        let pair = place(index, p);
        let both = vec4(square_sum_of(pair * 2u), square_sum_of(pair * 2u + 1u));
        // unroll
        for (var q = 0u; q < PARTS; q++) { sums[q] = select(sums[q], both, p == q); }
    }
    weights[index] = whole(sums);
}

fn square_sum_of(chunk: u32) -> vec2<f32> {
    let first = chunk * params.chunk / (4u * PARTS);
    let end = min(first + params.chunk / (4u * PARTS), (params.len + 4u * PARTS - 1u) / (4u * PARTS));
    var sums = vec4(0.0);
    var bad = vec4(0.0);
    for (var i = first; i < end; i++) {
        let held = gradient[i];
        // unroll
        for (var p = 0u; p < PARTS; p++) {
            let g = up_to(parts_of(held)[p], place(i, p), params.len);
            sums = fma(g, g, sums);
            bad += select(vec4(0.0), vec4(1.0), (bitcast<vec4<u32>>(g) & vec4(0x7f800000u)) == vec4(0x7f800000u));
        }
    }
    return vec2((sums.x + sums.y) + (sums.z + sums.w), (bad.x + bad.y) + (bad.z + bad.w));
}

// What the learning rate and the weight decay of a vec4 are multiplied by. The groups are in order.
fn group_of(four: u32) -> vec2<f32> {
    var group = params.groups[0].yz;
    for (var g = 1u; g < params.count; g++) {
        let next = params.groups[g];
        group = select(group, next.yz, four >= next.x);
    }
    return bitcast<vec2<f32>>(group);
}

// Returns the new weights.
fn update(i: u32) -> array<vec4<f32>, PARTS> {
    let keep1 = vec4(setting[2]);
    let keep2 = vec4(setting[3]);
    let rest1 = setting[4];
    let rest2 = setting[5];
    let eps = setting[6];
    let correction2 = setting[8];
    let gradients = gradient[i];
    let olds = weights[i];
    let old1 = moment1[i];
    let old2 = moment2[i];
    var w: array<vec4<f32>, PARTS>;
    var m: array<vec4<f32>, PARTS>;
    var v: array<vec4<f32>, PARTS>;
    // unroll
    for (var p = 0u; p < PARTS; p++) {
        let four = place(i, p);
        let g = parts_of(gradients)[p] * unscale;
        let held = parts_of(olds)[p];
        let group = group_of(four);
        let rate = setting[0] * group.x;
        let step = rate * setting[7];
        let decay = rate * setting[1] * group.y;
        let decayed = held - select(vec4(0.0), decay * held, decay > 0.0);
        m[p] = fma(keep1, parts_of(old1)[p], rest1 * g);
        v[p] = fma(keep2, parts_of(old2)[p], rest2 * g * g);
        w[p] = up_to(decayed - step * m[p] / (sqrt(v[p]) * correction2 + eps), four, params.len);
        m[p] = up_to(m[p], four, params.len);
        v[p] = up_to(v[p], four, params.len);
    }
    weights[i] = whole(w);
    moment1[i] = whole(m);
    moment2[i] = whole(v);
    return w;
}

// teacher += (1 - decay) * (student - teacher)
fn follow(student: array<vec4<f32>, PARTS>, i: u32) {
    let olds = teacher[i];
    var moved: array<vec4<f32>, PARTS>;
    // unroll
    for (var p = 0u; p < PARTS; p++) {
        let held = parts_of(olds)[p];
        moved[p] = up_to(fma(vec4(setting[9]), student[p] - held, held), place(i, p), params.len);
        measure(moved[p], student[p], i, p);
    }
    teacher[i] = whole(moved);
}

fn measure(moved: vec4<f32>, student: vec4<f32>, i: u32, p: u32) {
    let at = place(i, p) * 4u;
    if (at >= params.first && at < params.end) || (at >= params.more_first && at < params.more_end) {
        let distance = moved - student;
        between[p] = fma(distance, distance, between[p]);
        long[p] = fma(student, student, long[p]);
    }
}

fn measure_unmoved(student: Pack, i: u32) {
    let held = teacher[i];
    // unroll
    for (var p = 0u; p < PARTS; p++) { measure(parts_of(held)[p], parts_of(student)[p], i, p); }
}

fn store_distance(index: u32) {
    // unroll
    for (var p = 0u; p < PARTS; p++) {
        let row = place(index, p);
        if row / 64u * 256u * VEC4S < params.len {
            let b = between[p];
            let l = long[p];
            apart[row] = vec2((b.x + b.y) + (b.z + b.w), (l.x + l.y) + (l.z + l.w));
        }
    }
}

@compute @workgroup_size(64)
fn adamw(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    let refuses = read_settings();
    if i * 4u * PARTS >= params.len || refuses { return; }
    update(i);
}

// The weights are bound as `gradient`.
@compute @workgroup_size(64)
fn ema(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let index = (group.y * groups.x + group.x) * 64u + local.x;
    let first = first_vec4(index);
    let refuses = read_settings();
    for (var n = 0u; n < VEC4S; n++) {
        let i = first + n * ACROSS;
        if i * 4u * PARTS < params.len {
            if refuses { measure_unmoved(gradient[i], i); } else {
                let held = gradient[i];
                var student = array<vec4<f32>, PARTS>();
                // unroll
                for (var p = 0u; p < PARTS; p++) { student[p] = parts_of(held)[p]; }
                follow(student, i);
            }
        }
    }
    store_distance(index);
}

// Both, so that the new weights are not read again.
@compute @workgroup_size(64)
fn adamw_ema(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let index = (group.y * groups.x + group.x) * 64u + local.x;
    let first = first_vec4(index);
    if read_settings() {
        for (var n = 0u; n < VEC4S; n++) {
            let i = first + n * ACROSS;
            if i * 4u * PARTS < params.len { measure_unmoved(weights[i], i); }
        }
    } else {
        for (var n = 0u; n < VEC4S; n++) {
            let i = first + n * ACROSS;
            if i * 4u * PARTS < params.len { follow(update(i), i); }
        }
    }
    store_distance(index);
}

// Gradients of micro-batches add up; the first one (settings[0] = 0) replaces what was there.
@compute @workgroup_size(64)
fn accumulate(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    if i * 4u * PARTS >= params.len { return; }
    let anew = settings[0] == 0.0;
    let held = weights[i];
    let added = gradient[i];
    var sums: array<vec4<f32>, PARTS>;
    // unroll
    for (var p = 0u; p < PARTS; p++) {
        let g = parts_of(added)[p];
        sums[p] = up_to(select(parts_of(held)[p] + g, g, anew), place(i, p), params.len);
    }
    weights[i] = whole(sums);
}
