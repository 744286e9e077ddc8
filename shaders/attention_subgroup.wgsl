// Softmax attention for adapters whose loads are dear and whose subgroups are narrow: one subgroup a workgroup, a query
// (or key) a lane. The other side's rows are loaded once by the subgroup, a column a lane, and handed around. Columns
// are padded with zeros to whole subgroups. No lane leaves early: the others need its loads.
#include "common/attention.wgsl"
const LANES: u32 = 8u;
const CHUNKS: u32 = 8u;     // ceil(HEAD / LANES)
const PADDED: u32 = 64u;    // CHUNKS * LANES

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let i = group.x * LANES + local.x;
    var query: array<f32, PADDED>;
    var sum: array<f32, PADDED>;
    let from_q = query_at(group.z, group.y, min(i, params.lq - 1u));
    // unroll
    for (var c = 0u; c < HEAD; c++) { query[c] = q[from_q + c] * params.scale; }
    var largest = -3.4028234663852886e38;
    var total = 0.0;
    for (var j = 0u; j < params.lk; j++) {
        let k = key_at(group.z, group.y, j);
        let v = k - params.k_first + params.v_first;
        var score = 0.0;
        // unroll
        for (var t = 0u; t < CHUNKS; t++) {
            let own = kv[k + min(t * LANES + local.x, HEAD - 1u)];
            // unroll
            for (var l = 0u; l < LANES; l++) { score = fma(query[t * LANES + l], subgroupShuffle(own, l), score); }
        }
        let top = max(largest, score);
        let keep = exp(largest - top);
        let p = exp(score - top);
        largest = top;
        total = fma(total, keep, p);
        // unroll
        for (var t = 0u; t < CHUNKS; t++) {
            let own = kv[v + min(t * LANES + local.x, HEAD - 1u)];
            // unroll
            for (var l = 0u; l < LANES; l++) {
                sum[t * LANES + l] = fma(p, subgroupShuffle(own, l), sum[t * LANES + l] * keep);
            }
        }
    }
    if i >= params.lq { return; }
    let to = ((group.z * params.lq + i) * params.heads + group.y) * HEAD;
    // unroll
    for (var c = 0u; c < HEAD; c++) { y[to + c] = sum[c] / total; }
    let row = (group.z * params.heads + group.y) * params.lq + i;
    stats[row * 2u] = largest;
    stats[row * 2u + 1u] = 1.0 / total;
}

@compute @workgroup_size(LANES)
fn backward_q(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = group.x * LANES + local.x;
    let i = min(max(row, params.q_first) - params.q_first, params.lq - 1u);
    var query: array<f32, PADDED>;
    var slope: array<f32, PADDED>;
    var sum: array<f32, PADDED>;
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
        var key: array<f32, CHUNKS>;
        var score = 0.0;
        var change = 0.0;
        // unroll
        for (var t = 0u; t < CHUNKS; t++) {
            key[t] = kv[k + min(t * LANES + local.x, HEAD - 1u)];
            let own = kv[v + min(t * LANES + local.x, HEAD - 1u)];
            // unroll
            for (var l = 0u; l < LANES; l++) {
                score = fma(query[t * LANES + l], subgroupShuffle(key[t], l), score);
                change = fma(slope[t * LANES + l], subgroupShuffle(own, l), change);
            }
        }
        let d = exp(score - largest) * scale * (change - dot);
        // unroll
        for (var t = 0u; t < CHUNKS; t++) {
            // unroll
            for (var l = 0u; l < LANES; l++) {
                sum[t * LANES + l] = fma(d, subgroupShuffle(key[t], l), sum[t * LANES + l]);
            }
        }
    }
    if row >= params.q_rows { return; }
    if row < params.q_first {
        let zero = (group.z * params.q_rows + row) * params.q_stride + group.y * HEAD;
        for (var c = 0u; c < HEAD; c++) { dq[zero + c] = 0.0; }
        return;
    }
    // unroll
    for (var c = 0u; c < HEAD; c++) { dq[from_q + c] = sum[c] * params.scale; }
    delta[at] = dot;
}

@compute @workgroup_size(LANES)
fn backward_kv(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let j = group.x * LANES + local.x;
    var key: array<f32, PADDED>;
    var value: array<f32, PADDED>;
    var key_sum: array<f32, PADDED>;
    var value_sum: array<f32, PADDED>;
    let k = key_at(group.z, group.y, min(j, params.lk - 1u));
    let v = k - params.k_first + params.v_first;
    // unroll
    for (var c = 0u; c < HEAD; c++) { key[c] = kv[k + c] * params.scale; value[c] = kv[v + c]; }
    for (var i = 0u; i < params.lq; i++) {
        let from_q = query_at(group.z, group.y, i);
        let from_y = ((group.z * params.lq + i) * params.heads + group.y) * HEAD;
        let at = (group.z * params.heads + group.y) * params.lq + i;
        let stat = stats_in[at * 2u + (local.x & 1u)];
        var query: array<f32, CHUNKS>;
        var slope: array<f32, CHUNKS>;
        var score = 0.0;
        var change = 0.0;
        // unroll
        for (var t = 0u; t < CHUNKS; t++) {
            query[t] = q[from_q + min(t * LANES + local.x, HEAD - 1u)];
            slope[t] = dy[from_y + min(t * LANES + local.x, HEAD - 1u)];
            // unroll
            for (var l = 0u; l < LANES; l++) {
                score = fma(subgroupShuffle(query[t], l), key[t * LANES + l], score);
                change = fma(subgroupShuffle(slope[t], l), value[t * LANES + l], change);
            }
        }
        let p = exp(score - subgroupShuffle(stat, 0u)) * subgroupShuffle(stat, 1u);
        let d = p * (change - delta_in[at]) * params.scale;
        // unroll
        for (var t = 0u; t < CHUNKS; t++) {
            // unroll
            for (var l = 0u; l < LANES; l++) {
                value_sum[t * LANES + l] = fma(p, subgroupShuffle(slope[t], l), value_sum[t * LANES + l]);
                key_sum[t * LANES + l] = fma(d, subgroupShuffle(query[t], l), key_sum[t * LANES + l]);
            }
        }
    }
    if j >= params.lk { return; }
    // unroll
    for (var c = 0u; c < HEAD; c++) { dkv[k + c] = key_sum[c]; dkv[v + c] = value_sum[c]; }
}
