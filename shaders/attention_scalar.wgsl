// Flash attention, one head of one image a workgroup row. Scores are never stored: forward keeps an online softmax, each
// query's largest score and 1/sum of exponentials, and backward recomputes probabilities from them. Rows of the other side are read by a whole workgroup
// at once.
#include "common/attention.wgsl"
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> kv: array<f32>;
@group(0) @binding(3) var<storage, read> y_in: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;
@group(0) @binding(9) var<storage, read_write> dq: array<f32>;
@group(0) @binding(11) var<storage, read_write> dkv: array<f32>;
const GROUP: u32 = 64u;

@compute @workgroup_size(GROUP)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let i = group.x * GROUP + local.x;
    if i >= params.lq { return; }
    var query: array<f32, HEAD>;
    var sum: array<f32, HEAD>;
    let from_q = query_at(group.z, group.y, i);
    // unroll
    for (var c = 0u; c < HEAD; c++) { query[c] = q[from_q + c] * params.scale; }
    var largest = -3.4028234663852886e38;
    var total = 0.0;
    for (var j = 0u; j < params.lk; j++) {
        let k = key_at(group.z, group.y, j);
        var score = 0.0;
        // unroll
        for (var c = 0u; c < HEAD; c++) { score = fma(query[c], kv[k + c], score); }
        let top = max(largest, score);
        let keep = exp(largest - top);
        let p = exp(score - top);
        largest = top;
        total = fma(total, keep, p);
        let v = k - params.k_first + params.v_first;
        // unroll
        for (var c = 0u; c < HEAD; c++) { sum[c] = fma(p, kv[v + c], sum[c] * keep); }
    }
    let to = ((group.z * params.lq + i) * params.heads + group.y) * HEAD;
    // unroll
    for (var c = 0u; c < HEAD; c++) { y[to + c] = sum[c] / total; }
    let row = (group.z * params.heads + group.y) * params.lq + i;
    stats[row * 2u] = largest;
    stats[row * 2u + 1u] = 1.0 / total;
}

@compute @workgroup_size(GROUP)
fn backward_q(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = group.x * GROUP + local.x;
    if row >= params.q_rows { return; }
    if row < params.q_first {
        let zero = (group.z * params.q_rows + row) * params.q_stride + group.y * HEAD;
        for (var c = 0u; c < HEAD; c++) { dq[zero + c] = 0.0; }
        return;
    }
    let i = row - params.q_first;
    var query: array<f32, HEAD>;
    var slope: array<f32, HEAD>;
    var sum: array<f32, HEAD>;
    let from_q = query_at(group.z, group.y, i);
    let from_y = ((group.z * params.lq + i) * params.heads + group.y) * HEAD;
    var dot = 0.0;
    // unroll
    for (var c = 0u; c < HEAD; c++) {
        query[c] = q[from_q + c] * params.scale;
        slope[c] = dy[from_y + c];
        dot = fma(slope[c], y_in[from_y + c], dot);
    }
    let at = (group.z * params.heads + group.y) * params.lq + i;
    let largest = stats_in[at * 2u];
    let scale = stats_in[at * 2u + 1u];
    for (var j = 0u; j < params.lk; j++) {
        let k = key_at(group.z, group.y, j);
        let v = k - params.k_first + params.v_first;
        var score = 0.0;
        var change = 0.0;
        // unroll
        for (var c = 0u; c < HEAD; c++) { score = fma(query[c], kv[k + c], score); }
        // unroll
        for (var c = 0u; c < HEAD; c++) { change = fma(slope[c], kv[v + c], change); }
        let d = exp(score - largest) * scale * (change - dot);
        // unroll
        for (var c = 0u; c < HEAD; c++) { sum[c] = fma(d, kv[k + c], sum[c]); }
    }
    // unroll
    for (var c = 0u; c < HEAD; c++) { dq[from_q + c] = sum[c] * params.scale; }
    delta[at] = dot;
}

@compute @workgroup_size(GROUP)
fn backward_kv(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let j = group.x * GROUP + local.x;
    if j >= params.lk { return; }
    var key: array<f32, HEAD>;
    var value: array<f32, HEAD>;
    var key_sum: array<f32, HEAD>;
    var value_sum: array<f32, HEAD>;
    let k = key_at(group.z, group.y, j);
    let v = k - params.k_first + params.v_first;
    // unroll
    for (var c = 0u; c < HEAD; c++) { key[c] = kv[k + c] * params.scale; value[c] = kv[v + c]; }
    for (var i = 0u; i < params.lq; i++) {
        let from_q = query_at(group.z, group.y, i);
        let from_y = ((group.z * params.lq + i) * params.heads + group.y) * HEAD;
        let at = (group.z * params.heads + group.y) * params.lq + i;
        var score = 0.0;
        var change = 0.0;
        // unroll
        for (var c = 0u; c < HEAD; c++) { score = fma(q[from_q + c], key[c], score); }
        let p = exp(score - stats_in[at * 2u]) * stats_in[at * 2u + 1u];
        // unroll
        for (var c = 0u; c < HEAD; c++) {
            let slope = dy[from_y + c];
            change = fma(slope, value[c], change);
            value_sum[c] = fma(p, slope, value_sum[c]);
        }
        let d = p * (change - delta_in[at]) * params.scale;
        // unroll
        for (var c = 0u; c < HEAD; c++) { key_sum[c] = fma(d, q[from_q + c], key_sum[c]); }
    }
    // unroll
    for (var c = 0u; c < HEAD; c++) { dkv[k + c] = key_sum[c]; dkv[v + c] = value_sum[c]; }
}
