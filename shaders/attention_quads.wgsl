// Softmax attention for GPUs: as `attention.wgsl`, but values are loaded and stored four by four, so that a load feeds
// four multiplications, and gradients of keys and values are found one after the other, so that an invocation's sums stay
// in registers. HEAD is a multiple of 4.
#include "common/attention.wgsl"
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> kv: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> y_in: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(9) var<storage, read_write> dq: array<vec4<f32>>;
@group(0) @binding(11) var<storage, read_write> dkv: array<vec4<f32>>;
const GROUP: u32 = 64u;
const QUADS: u32 = 16u;     // HEAD / 4

fn total_of(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(GROUP)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let i = group.x * GROUP + local.x;
    if i >= params.lq { return; }
    var query: array<vec4<f32>, QUADS>;
    var sum: array<vec4<f32>, QUADS>;
    let from_q = query_at(group.z, group.y, i) / 4u;
    // unroll
    for (var c = 0u; c < QUADS; c++) { query[c] = q[from_q + c] * params.scale; }
    var largest = -3.4028234663852886e38;
    var total = 0.0;
    for (var j = 0u; j < params.lk; j++) {
        let k = key_at(group.z, group.y, j) / 4u;
        var products = vec4(0.0);
        // unroll
        for (var c = 0u; c < QUADS; c++) { products = fma(query[c], kv[k + c], products); }
        let score = total_of(products);
        let top = max(largest, score);
        let keep = exp(largest - top);
        let p = exp(score - top);
        largest = top;
        total = fma(total, keep, p);
        let v = k + (params.v_first - params.k_first) / 4u;
        // unroll
        for (var c = 0u; c < QUADS; c++) { sum[c] = fma(vec4(p), kv[v + c], sum[c] * keep); }
    }
    let to = ((group.z * params.lq + i) * params.heads + group.y) * QUADS;
    // unroll
    for (var c = 0u; c < QUADS; c++) { y[to + c] = sum[c] / total; }
    let row = (group.z * params.heads + group.y) * params.lq + i;
    stats[row * 2u] = largest;
    stats[row * 2u + 1u] = 1.0 / total;
}

@compute @workgroup_size(GROUP)
fn backward_q(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = group.x * GROUP + local.x;
    if row >= params.q_rows { return; }
    if row < params.q_first {
        let zero = ((group.z * params.q_rows + row) * params.q_stride) / 4u + group.y * QUADS;
        for (var c = 0u; c < QUADS; c++) { dq[zero + c] = vec4(0.0); }
        return;
    }
    let i = row - params.q_first;
    var query: array<vec4<f32>, QUADS>;
    var slope: array<vec4<f32>, QUADS>;
    var sum: array<vec4<f32>, QUADS>;
    let from_q = query_at(group.z, group.y, i) / 4u;
    let from_y = ((group.z * params.lq + i) * params.heads + group.y) * QUADS;
    var products = vec4(0.0);
    // unroll
    for (var c = 0u; c < QUADS; c++) {
        query[c] = q[from_q + c] * params.scale;
        slope[c] = dy[from_y + c];
        products = fma(slope[c], y_in[from_y + c], products);
    }
    let dot = total_of(products);
    let at = (group.z * params.heads + group.y) * params.lq + i;
    let largest = stats_in[at * 2u];
    let scale = stats_in[at * 2u + 1u];
    for (var j = 0u; j < params.lk; j++) {
        let k = key_at(group.z, group.y, j) / 4u;
        let v = k + (params.v_first - params.k_first) / 4u;
        var scores = vec4(0.0);
        var changes = vec4(0.0);
        // unroll
        for (var c = 0u; c < QUADS; c++) { scores = fma(query[c], kv[k + c], scores); }
        // unroll
        for (var c = 0u; c < QUADS; c++) { changes = fma(slope[c], kv[v + c], changes); }
        let d = exp(total_of(scores) - largest) * scale * (total_of(changes) - dot);
        // unroll
        for (var c = 0u; c < QUADS; c++) { sum[c] = fma(vec4(d), kv[k + c], sum[c]); }
    }
    // unroll
    for (var c = 0u; c < QUADS; c++) { dq[from_q + c] = sum[c] * params.scale; }
    delta[at] = dot;
}

@compute @workgroup_size(GROUP)
fn backward_kv(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let j = group.x * GROUP + local.x;
    if j >= params.lk { return; }
    var key: array<vec4<f32>, QUADS>;
    let k = key_at(group.z, group.y, j) / 4u;
    let v = k + (params.v_first - params.k_first) / 4u;
    // unroll
    for (var c = 0u; c < QUADS; c++) { key[c] = kv[k + c] * params.scale; }
    let first = (group.z * params.heads + group.y) * params.lq;
    {
        var sum: array<vec4<f32>, QUADS>;
        for (var i = 0u; i < params.lq; i++) {
            let from_q = query_at(group.z, group.y, i) / 4u;
            let from_y = ((group.z * params.lq + i) * params.heads + group.y) * QUADS;
            let at = first + i;
            var scores = vec4(0.0);
            // unroll
            for (var c = 0u; c < QUADS; c++) { scores = fma(q[from_q + c], key[c], scores); }
            let p = exp(total_of(scores) - stats_in[at * 2u]) * stats_in[at * 2u + 1u];
            // unroll
            for (var c = 0u; c < QUADS; c++) { sum[c] = fma(vec4(p), dy[from_y + c], sum[c]); }
        }
        // unroll
        for (var c = 0u; c < QUADS; c++) { dkv[v + c] = sum[c]; }
    }
    var value: array<vec4<f32>, QUADS>;
    var sum: array<vec4<f32>, QUADS>;
    // unroll
    for (var c = 0u; c < QUADS; c++) { value[c] = kv[v + c]; }
    for (var i = 0u; i < params.lq; i++) {
        let from_q = query_at(group.z, group.y, i) / 4u;
        let from_y = ((group.z * params.lq + i) * params.heads + group.y) * QUADS;
        let at = first + i;
        var scores = vec4(0.0);
        var changes = vec4(0.0);
        // unroll
        for (var c = 0u; c < QUADS; c++) { scores = fma(q[from_q + c], key[c], scores); }
        // unroll
        for (var c = 0u; c < QUADS; c++) { changes = fma(dy[from_y + c], value[c], changes); }
        let p = exp(total_of(scores) - stats_in[at * 2u]) * stats_in[at * 2u + 1u];
        let d = p * (total_of(changes) - delta_in[at]) * params.scale;
        // unroll
        for (var c = 0u; c < QUADS; c++) { sum[c] = fma(vec4(d), q[from_q + c], sum[c]); }
    }
    // unroll
    for (var c = 0u; c < QUADS; c++) { dkv[k + c] = sum[c]; }
}
