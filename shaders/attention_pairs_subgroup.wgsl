// Softmax attention for software rasterizers with 64-bit integers, whose loads are dear: one subgroup a workgroup, ROWS
// queries (or keys) a lane. The other side's rows are loaded once by the subgroup, a pair of columns a lane (see
// `product_pairs_subgroup.wgsl`), and handed around. Columns are padded with zeros to whole loads; HEAD is even. No lane
// leaves early: the others need its loads.
#include "common/attention.wgsl"
#include "common/pairs.wgsl"
const LANES: u32 = 8u;
const ROWS: u32 = 2u;
const LOADS: u32 = 4u;      // ceil(HEAD / 2 / LANES)
const PADDED: u32 = 64u;    // LOADS * LANES * 2
const BLOCK: u32 = 128u;    // ROWS * PADDED
const HALF: u32 = 32u;      // HEAD / 2

@group(0) @binding(1) var<storage, read> q: array<u64>;
@group(0) @binding(2) var<storage, read> kv: array<u64>;
@group(0) @binding(3) var<storage, read> y_in: array<u64>;
@group(0) @binding(4) var<storage, read> dy: array<u64>;
@group(0) @binding(7) var<storage, read_write> y: array<vec2<f32>>;
@group(0) @binding(9) var<storage, read_write> dq: array<vec2<f32>>;
@group(0) @binding(11) var<storage, read_write> dkv: array<vec2<f32>>;

// Where a row of y or dy starts, in values.
fn output_at(batch: u32, head: u32, i: u32) -> u32 {
    return ((batch * params.lq + i) * params.heads + head) * HEAD;
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let first = group.x * LANES * ROWS + local.x;
    var query: array<f32, BLOCK>;
    var sum: array<f32, BLOCK>;
    var largest: array<f32, ROWS>;
    var total: array<f32, ROWS>;
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        largest[r] = -3.4028234663852886e38;
        let from_q = query_at(group.z, group.y, min(first + r * LANES, params.lq - 1u)) / 2u;
        // unroll
        for (var c = 0u; c < HALF; c++) {
            let v = q[from_q + c];
            query[r * PADDED + 2u * c] = low(v) * params.scale;
            query[r * PADDED + 2u * c + 1u] = high(v) * params.scale;
        }
    }
    for (var j = 0u; j < params.lk; j++) {
        let k = key_at(group.z, group.y, j) / 2u;
        let v = k + (params.v_first - params.k_first) / 2u;
        // Two sums a row, so that one need not wait for the other.
        var even = array<f32, ROWS>();
        var odd = array<f32, ROWS>();
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            let own = kv[k + min(t * LANES + local.x, HALF - 1u)];
            // unroll
            for (var l = 0u; l < LANES; l++) {
                let a = subgroupShuffle(low(own), l);
                let b = subgroupShuffle(high(own), l);
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    even[r] = fma(query[r * PADDED + (t * LANES + l) * 2u], a, even[r]);
                    odd[r] = fma(query[r * PADDED + (t * LANES + l) * 2u + 1u], b, odd[r]);
                }
            }
        }
        var keep = array<f32, ROWS>();
        var p = array<f32, ROWS>();
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            let score = even[r] + odd[r];
            let top = max(largest[r], score);
            keep[r] = exp(largest[r] - top);
            p[r] = exp(score - top);
            largest[r] = top;
            total[r] = fma(total[r], keep[r], p[r]);
        }
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            let own = kv[v + min(t * LANES + local.x, HALF - 1u)];
            // unroll
            for (var l = 0u; l < LANES; l++) {
                let a = subgroupShuffle(low(own), l);
                let b = subgroupShuffle(high(own), l);
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    let at = r * PADDED + (t * LANES + l) * 2u;
                    sum[at] = fma(p[r], a, sum[at] * keep[r]);
                    sum[at + 1u] = fma(p[r], b, sum[at + 1u] * keep[r]);
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
                y[to + c] = vec2(sum[r * PADDED + 2u * c], sum[r * PADDED + 2u * c + 1u]) / total[r];
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
    for (var j = 0u; j < params.lk; j++) {
        let k = key_at(group.z, group.y, j) / 2u;
        let v = k + (params.v_first - params.k_first) / 2u;
        var key_low = array<f32, LOADS>();
        var key_high = array<f32, LOADS>();
        var score = array<f32, ROWS>();
        var change = array<f32, ROWS>();
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            let from_key = kv[k + min(t * LANES + local.x, HALF - 1u)];
            let own = kv[v + min(t * LANES + local.x, HALF - 1u)];
            key_low[t] = low(from_key);
            key_high[t] = high(from_key);
            // unroll
            for (var l = 0u; l < LANES; l++) {
                let a = subgroupShuffle(key_low[t], l);
                let b = subgroupShuffle(key_high[t], l);
                let c = subgroupShuffle(low(own), l);
                let d = subgroupShuffle(high(own), l);
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    let at = r * PADDED + (t * LANES + l) * 2u;
                    score[r] = fma(query[at + 1u], b, fma(query[at], a, score[r]));
                    change[r] = fma(slope[at + 1u], d, fma(slope[at], c, change[r]));
                }
            }
        }
        var d = array<f32, ROWS>();
        // unroll
        for (var r = 0u; r < ROWS; r++) { d[r] = exp(score[r] - largest[r]) * scale[r] * (change[r] - dots[r]); }
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            // unroll
            for (var l = 0u; l < LANES; l++) {
                let a = subgroupShuffle(key_low[t], l);
                let b = subgroupShuffle(key_high[t], l);
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    let at = r * PADDED + (t * LANES + l) * 2u;
                    sum[at] = fma(d[r], a, sum[at]);
                    sum[at + 1u] = fma(d[r], b, sum[at + 1u]);
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
                let at = r * PADDED + 2u * c;
                dq[to + c] = select(vec2(0.0), vec2(sum[at], sum[at + 1u]) * params.scale, asks);
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
    for (var i = 0u; i < params.lq; i++) {
        let from_q = query_at(group.z, group.y, i) / 2u;
        let from_y = output_at(group.z, group.y, i) / 2u;
        let at = (group.z * params.heads + group.y) * params.lq + i;
        let stat = stats_in[at * 2u + (local.x & 1u)];
        let dots = delta_in[at];
        var query = array<u64, LOADS>();
        var slope = array<u64, LOADS>();
        var score = array<f32, ROWS>();
        var change = array<f32, ROWS>();
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            query[t] = q[from_q + min(t * LANES + local.x, HALF - 1u)];
            slope[t] = dy[from_y + min(t * LANES + local.x, HALF - 1u)];
            // unroll
            for (var l = 0u; l < LANES; l++) {
                let a = subgroupShuffle(low(query[t]), l);
                let b = subgroupShuffle(high(query[t]), l);
                let c = subgroupShuffle(low(slope[t]), l);
                let d = subgroupShuffle(high(slope[t]), l);
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    let column = r * PADDED + (t * LANES + l) * 2u;
                    score[r] = fma(b, key[column + 1u], fma(a, key[column], score[r]));
                    change[r] = fma(d, value[column + 1u], fma(c, value[column], change[r]));
                }
            }
        }
        var p = array<f32, ROWS>();
        var d = array<f32, ROWS>();
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            p[r] = exp(score[r] - subgroupShuffle(stat, 0u)) * subgroupShuffle(stat, 1u);
            d[r] = p[r] * (change[r] - dots) * params.scale;
        }
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            // unroll
            for (var l = 0u; l < LANES; l++) {
                let a = subgroupShuffle(low(query[t]), l);
                let b = subgroupShuffle(high(query[t]), l);
                let c = subgroupShuffle(low(slope[t]), l);
                let e = subgroupShuffle(high(slope[t]), l);
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    let column = r * PADDED + (t * LANES + l) * 2u;
                    key_sum[column] = fma(d[r], a, key_sum[column]);
                    key_sum[column + 1u] = fma(d[r], b, key_sum[column + 1u]);
                    value_sum[column] = fma(p[r], c, value_sum[column]);
                    value_sum[column + 1u] = fma(p[r], e, value_sum[column + 1u]);
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
                let column = r * PADDED + 2u * c;
                dkv[k + c] = vec2(key_sum[column], key_sum[column + 1u]);
                dkv[v + c] = vec2(value_sum[column], value_sum[column + 1u]);
            }
        }
    }
}
