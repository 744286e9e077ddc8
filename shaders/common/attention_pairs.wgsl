// Softmax attention for software rasterizers with 64-bit integers, whose loads are dear: one subgroup a workgroup, ROWS
// queries (or keys) a lane. The other side's rows are loaded once by the subgroup, a pair of columns a lane (see
// `product_fours.wgsl`), and handed around, TURN rows in a turn, so that what a lane holds, most of it on the
// stack, is fetched once for all of them. Columns are padded with zeros to whole loads; HEAD is even. No lane leaves
// early: the others need its loads.
#include "common/attention.wgsl"
const LANES: u32 = 8u;
const ROWS: u32 = 2u;
const TURN: u32 = 2u;
const SCORES: u32 = ROWS * TURN;
const LOADS: u32 = 4u;      // ceil(HEAD / 2 / LANES)
const PADDED: u32 = 64u;    // LOADS * LANES * 2
const BLOCK: u32 = 128u;    // ROWS * PADDED
const HELD: u32 = 8u;       // TURN * LOADS
const HALF: u32 = 32u;      // HEAD / 2

@group(0) @binding(1) var<storage, read> q: array<Two>;
@group(0) @binding(2) var<storage, read> kv: array<Two>;
@group(0) @binding(3) var<storage, read> y_in: array<Two>;
@group(0) @binding(4) var<storage, read> dy: array<Two>;
@group(0) @binding(7) var<storage, read_write> y: array<StoredTwo>;
@group(0) @binding(9) var<storage, read_write> dq: array<StoredTwo>;
@group(0) @binding(11) var<storage, read_write> dkv: array<StoredTwo>;

// Where a row of y or dy starts, in values.
fn output_at(batch: u32, head: u32, i: u32) -> u32 {
    return ((batch * params.lq + i) * params.heads + head) * HEAD;
}

const LOWEST: f32 = -3.4028234663852886e38;

// Where a key of a turn starts, in pairs; what lies past the last key loads it again.
fn key_in_turn(group: vec3<u32>, j: u32) -> u32 {
    return key_at(group.z, group.y, min(j, params.lk - 1u)) / 2u;
}

// The pair of columns that a lane brings in its load `t`.
fn column(t: u32, lane: u32) -> u32 {
    return min(t * LANES + lane, HALF - 1u);
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let first = group.x * LANES * ROWS + local.x;
    var query: array<f32, BLOCK>;
    var sum: array<f32, BLOCK>;
    var largest: array<f32, ROWS>;
    var total: array<f32, ROWS>;
    let to_value = (params.v_first - params.k_first) / 2u;
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        largest[r] = LOWEST;
        let from_q = query_at(group.z, group.y, min(first + r * LANES, params.lq - 1u)) / 2u;
        // unroll
        for (var c = 0u; c < HALF; c++) {
            let v = q[from_q + c];
            query[r * PADDED + 2u * c] = low(v) * params.scale;
            query[r * PADDED + 2u * c + 1u] = high(v) * params.scale;
        }
    }
    for (var j = 0u; j < params.lk; j += TURN) {
        var score = array<f32, SCORES>();
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            var own = array<Two, TURN>();
            // unroll
            for (var s = 0u; s < TURN; s++) { own[s] = kv[key_in_turn(group, j + s) + column(t, local.x)]; }
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var s = 0u; s < TURN; s++) {
                    let a = subgroupShuffle(low(own[s]), l);
                    let b = subgroupShuffle(high(own[s]), l);
                    // unroll
                    for (var r = 0u; r < ROWS; r++) {
                        const at = r * PADDED + (t * LANES + l) * 2u;
                        score[r * TURN + s] = fma(query[at + 1u], b, fma(query[at], a, score[r * TURN + s]));
                    }
                }
            }
        }
        var keep = array<f32, ROWS>();
        var p = array<f32, SCORES>();
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            var top = largest[r];
            // unroll
            for (var s = 0u; s < TURN; s++) {
                score[r * TURN + s] = select(LOWEST, score[r * TURN + s], j + s < params.lk);
                top = max(top, score[r * TURN + s]);
            }
            keep[r] = exp(largest[r] - top);
            largest[r] = top;
            total[r] *= keep[r];
            // unroll
            for (var s = 0u; s < TURN; s++) {
                p[r * TURN + s] = exp(score[r * TURN + s] - top);
                total[r] += p[r * TURN + s];
            }
        }
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            var own = array<Two, TURN>();
            // unroll
            for (var s = 0u; s < TURN; s++) { own[s] = kv[key_in_turn(group, j + s) + to_value + column(t, local.x)]; }
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    const at = r * PADDED + (t * LANES + l) * 2u;
                    sum[at] *= keep[r];
                    sum[at + 1u] *= keep[r];
                    // unroll
                    for (var s = 0u; s < TURN; s++) {
                        sum[at] = fma(p[r * TURN + s], subgroupShuffle(low(own[s]), l), sum[at]);
                        sum[at + 1u] = fma(p[r * TURN + s], subgroupShuffle(high(own[s]), l), sum[at + 1u]);
                    }
                }
            }
        }
    }
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let i = first + r * LANES;
        if i < params.lq {
            let to = output_at(group.z, group.y, i) / 2u;
            // unroll
            for (var c = 0u; c < HALF; c++) {
                y[to + c] = stored(vec2(sum[r * PADDED + 2u * c], sum[r * PADDED + 2u * c + 1u]) / total[r]);
            }
            let row = (group.z * params.heads + group.y) * params.lq + i;
            stats[row * 2u] = largest[r];
            stats[row * 2u + 1u] = 1.0 / total[r];
        }
    }
}

@compute @workgroup_size(LANES)
fn backward_q(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let first = group.x * LANES * ROWS + local.x;
    var query: array<f32, BLOCK>;
    var slope: array<f32, BLOCK>;
    var sum: array<f32, BLOCK>;
    var dots: array<f32, ROWS>;
    var largest: array<f32, ROWS>;
    var scale: array<f32, ROWS>;
    let to_value = (params.v_first - params.k_first) / 2u;
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let i = min(max(first + r * LANES, params.q_first) - params.q_first, params.lq - 1u);
        let from_q = query_at(group.z, group.y, i) / 2u;
        let from_y = output_at(group.z, group.y, i) / 2u;
        // unroll
        for (var c = 0u; c < HALF; c++) {
            let v = q[from_q + c];
            query[r * PADDED + 2u * c] = low(v) * params.scale;
            query[r * PADDED + 2u * c + 1u] = high(v) * params.scale;
            let s = dy[from_y + c];
            slope[r * PADDED + 2u * c] = low(s);
            slope[r * PADDED + 2u * c + 1u] = high(s);
            let w = y_in[from_y + c];
            dots[r] = fma(high(s), high(w), fma(low(s), low(w), dots[r]));
        }
        let at = (group.z * params.heads + group.y) * params.lq + i;
        largest[r] = stats_in[at * 2u];
        scale[r] = stats_in[at * 2u + 1u];
    }
    for (var j = 0u; j < params.lk; j += TURN) {
        var key = array<Two, HELD>();
        var score = array<f32, SCORES>();
        var change = array<f32, SCORES>();
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            var value = array<Two, TURN>();
            // unroll
            for (var s = 0u; s < TURN; s++) {
                let k = key_in_turn(group, j + s) + column(t, local.x);
                key[s * LOADS + t] = kv[k];
                value[s] = kv[k + to_value];
            }
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var s = 0u; s < TURN; s++) {
                    let a = subgroupShuffle(low(key[s * LOADS + t]), l);
                    let b = subgroupShuffle(high(key[s * LOADS + t]), l);
                    let c = subgroupShuffle(low(value[s]), l);
                    let e = subgroupShuffle(high(value[s]), l);
                    // unroll
                    for (var r = 0u; r < ROWS; r++) {
                        const at = r * PADDED + (t * LANES + l) * 2u;
                        score[r * TURN + s] = fma(query[at + 1u], b, fma(query[at], a, score[r * TURN + s]));
                        change[r * TURN + s] = fma(slope[at + 1u], e, fma(slope[at], c, change[r * TURN + s]));
                    }
                }
            }
        }
        var d = array<f32, SCORES>();
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            // unroll
            for (var s = 0u; s < TURN; s++) {
                let p = select(0.0, exp(score[r * TURN + s] - largest[r]) * scale[r], j + s < params.lk);
                d[r * TURN + s] = p * (change[r * TURN + s] - dots[r]);
            }
        }
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    const at = r * PADDED + (t * LANES + l) * 2u;
                    // unroll
                    for (var s = 0u; s < TURN; s++) {
                        sum[at] = fma(d[r * TURN + s], subgroupShuffle(low(key[s * LOADS + t]), l), sum[at]);
                        sum[at + 1u] = fma(d[r * TURN + s], subgroupShuffle(high(key[s * LOADS + t]), l), sum[at + 1u]);
                    }
                }
            }
        }
    }
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let row = first + r * LANES;
        if row < params.q_rows {
            let to = ((group.z * params.q_rows + row) * params.q_stride + group.y * HEAD) / 2u;
            let asks = row >= params.q_first;
            // unroll
            for (var c = 0u; c < HALF; c++) {
                const at = r * PADDED + 2u * c;
                dq[to + c] = stored(select(vec2(0.0), vec2(sum[at], sum[at + 1u]) * params.scale, asks));
            }
            if asks { delta[(group.z * params.heads + group.y) * params.lq + row - params.q_first] = dots[r]; }
        }
    }
}

@compute @workgroup_size(LANES)
fn backward_kv(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let first = group.x * LANES * ROWS + local.x;
    var key: array<f32, BLOCK>;
    var value: array<f32, BLOCK>;
    var key_sum: array<f32, BLOCK>;
    var value_sum: array<f32, BLOCK>;
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let k = key_at(group.z, group.y, min(first + r * LANES, params.lk - 1u)) / 2u;
        let v = k + (params.v_first - params.k_first) / 2u;
        // unroll
        for (var c = 0u; c < HALF; c++) {
            let from_key = kv[k + c];
            key[r * PADDED + 2u * c] = low(from_key) * params.scale;
            key[r * PADDED + 2u * c + 1u] = high(from_key) * params.scale;
            let from_value = kv[v + c];
            value[r * PADDED + 2u * c] = low(from_value);
            value[r * PADDED + 2u * c + 1u] = high(from_value);
        }
    }
    for (var i = 0u; i < params.lq; i += TURN) {
        var query = array<Two, HELD>();
        var slope = array<Two, HELD>();
        var score = array<f32, SCORES>();
        var change = array<f32, SCORES>();
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            // unroll
            for (var s = 0u; s < TURN; s++) {
                let row = min(i + s, params.lq - 1u);
                query[s * LOADS + t] = q[query_at(group.z, group.y, row) / 2u + column(t, local.x)];
                slope[s * LOADS + t] = dy[output_at(group.z, group.y, row) / 2u + column(t, local.x)];
            }
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var s = 0u; s < TURN; s++) {
                    let a = subgroupShuffle(low(query[s * LOADS + t]), l);
                    let b = subgroupShuffle(high(query[s * LOADS + t]), l);
                    let c = subgroupShuffle(low(slope[s * LOADS + t]), l);
                    let e = subgroupShuffle(high(slope[s * LOADS + t]), l);
                    // unroll
                    for (var r = 0u; r < ROWS; r++) {
                        const at = r * PADDED + (t * LANES + l) * 2u;
                        score[r * TURN + s] = fma(b, key[at + 1u], fma(a, key[at], score[r * TURN + s]));
                        change[r * TURN + s] = fma(e, value[at + 1u], fma(c, value[at], change[r * TURN + s]));
                    }
                }
            }
        }
        var p = array<f32, SCORES>();
        var d = array<f32, SCORES>();
        // unroll
        for (var s = 0u; s < TURN; s++) {
            let at = (group.z * params.heads + group.y) * params.lq + min(i + s, params.lq - 1u);
            let stat = stats_in[at * 2u + (local.x & 1u)];
            let largest = subgroupShuffle(stat, 0u);
            let inverse = select(0.0, subgroupShuffle(stat, 1u), i + s < params.lq);
            let dots = delta_in[at];
            // unroll
            for (var r = 0u; r < ROWS; r++) {
                p[r * TURN + s] = exp(score[r * TURN + s] - largest) * inverse;
                d[r * TURN + s] = p[r * TURN + s] * (change[r * TURN + s] - dots) * params.scale;
            }
        }
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    const at = r * PADDED + (t * LANES + l) * 2u;
                    // unroll
                    for (var s = 0u; s < TURN; s++) {
                        let own = query[s * LOADS + t];
                        let other = slope[s * LOADS + t];
                        key_sum[at] = fma(d[r * TURN + s], subgroupShuffle(low(own), l), key_sum[at]);
                        key_sum[at + 1u] = fma(d[r * TURN + s], subgroupShuffle(high(own), l), key_sum[at + 1u]);
                        value_sum[at] = fma(p[r * TURN + s], subgroupShuffle(low(other), l), value_sum[at]);
                        value_sum[at + 1u] = fma(p[r * TURN + s], subgroupShuffle(high(other), l), value_sum[at + 1u]);
                    }
                }
            }
        }
    }
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let j = first + r * LANES;
        if j < params.lk {
            let k = key_at(group.z, group.y, j) / 2u;
            let v = k + (params.v_first - params.k_first) / 2u;
            // unroll
            for (var c = 0u; c < HALF; c++) {
                const at = r * PADDED + 2u * c;
                dkv[k + c] = stored(vec2(key_sum[at], key_sum[at + 1u]));
                dkv[v + c] = stored(vec2(value_sum[at], value_sum[at + 1u]));
            }
        }
    }
}
