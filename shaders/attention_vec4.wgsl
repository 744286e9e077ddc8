// Flash attention with values loaded and stored four by four, so that a load feeds four multiplications, and ROWS rows
// an invocation, so that it feeds them all; otherwise as `attention_scalar.wgsl`. HEAD is a multiple of 4.
#include "common/attention.wgsl"
#include "common/stored_vec4.wgsl"
@group(0) @binding(1) var<storage, read> q: array<Stored>;
@group(0) @binding(2) var<storage, read> kv: array<Stored>;
@group(0) @binding(3) var<storage, read> y_in: array<Stored>;
@group(0) @binding(4) var<storage, read> dy: array<Stored>;
@group(0) @binding(7) var<storage, read_write> y: array<Stored>;
@group(0) @binding(9) var<storage, read_write> dq: array<Stored>;
@group(0) @binding(11) var<storage, read_write> dkv: array<Stored>;
const GROUP: u32 = 64u;
const ROWS: u32 = 1u;
const VEC4S: u32 = HEAD / 4u;
const HELD: u32 = ROWS * VEC4S;

fn total_of(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

fn y_at(batch: u32, head: u32, i: u32) -> u32 {
    return ((batch * params.lq + i) * params.heads + head) * VEC4S;
}

@compute @workgroup_size(GROUP)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let first = (group.x * GROUP + local.x) * ROWS;
    if first >= params.lq { return; }
    var query: array<vec4<f32>, HELD>;
    var sum: array<vec4<f32>, HELD>;
    var largest: array<f32, ROWS>;
    var total: array<f32, ROWS>;
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let from_q = query_at(group.z, group.y, min(first + r, params.lq - 1u)) / 4u;
        // unroll
        for (var c = 0u; c < VEC4S; c++) {
            query[r * VEC4S + c] = loaded(q[from_q + c]) * params.scale;
            sum[r * VEC4S + c] = vec4(0.0);
        }
        largest[r] = -3.4028234663852886e38;
        total[r] = 0.0;
    }
    for (var j = 0u; j < params.lk; j++) {
        let k = key_at(group.z, group.y, j) / 4u;
        let v = k + (params.v_first - params.k_first) / 4u;
        var matmuls = array<vec4<f32>, ROWS>();
        // unroll
        for (var c = 0u; c < VEC4S; c++) {
            let key = loaded(kv[k + c]);
            // unroll
            for (var r = 0u; r < ROWS; r++) { matmuls[r] = fma(query[r * VEC4S + c], key, matmuls[r]); }
        }
        var p = array<f32, ROWS>();
        var keep = array<f32, ROWS>();
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            let score = total_of(matmuls[r]);
            let top = max(largest[r], score);
            keep[r] = exp(largest[r] - top);
            p[r] = exp(score - top);
            largest[r] = top;
            total[r] = fma(total[r], keep[r], p[r]);
        }
        // unroll
        for (var c = 0u; c < VEC4S; c++) {
            let value = loaded(kv[v + c]);
            // unroll
            for (var r = 0u; r < ROWS; r++) {
                sum[r * VEC4S + c] = fma(vec4(p[r]), value, sum[r * VEC4S + c] * keep[r]);
            }
        }
    }
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let i = first + r;
        if i < params.lq {
            let to = y_at(group.z, group.y, i);
            // unroll
            for (var c = 0u; c < VEC4S; c++) { y[to + c] = stored(sum[r * VEC4S + c] / total[r]); }
            let at = (group.z * params.heads + group.y) * params.lq + i;
            stats[at * 2u] = largest[r];
            stats[at * 2u + 1u] = 1.0 / total[r];
        }
    }
}

@compute @workgroup_size(GROUP)
fn backward_q(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let first = (group.x * GROUP + local.x) * ROWS;
    if first >= params.q_rows { return; }
    let stats_first = (group.z * params.heads + group.y) * params.lq;
    var query: array<vec4<f32>, HELD>;
    var slope: array<vec4<f32>, HELD>;
    var sum: array<vec4<f32>, HELD>;
    var dot: array<f32, ROWS>;
    var largest: array<f32, ROWS>;
    var inverse: array<f32, ROWS>;
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        // Rows that ask nothing take another's work, and zeros at the end.
        let i = min(max(first + r, params.q_first) - params.q_first, params.lq - 1u);
        let from_q = query_at(group.z, group.y, i) / 4u;
        let from_y = y_at(group.z, group.y, i);
        var matmuls = vec4(0.0);
        // unroll
        for (var c = 0u; c < VEC4S; c++) {
            let d = loaded(dy[from_y + c]);
            query[r * VEC4S + c] = loaded(q[from_q + c]) * params.scale;
            slope[r * VEC4S + c] = d;
            sum[r * VEC4S + c] = vec4(0.0);
            matmuls = fma(d, loaded(y_in[from_y + c]), matmuls);
        }
        dot[r] = total_of(matmuls);
        largest[r] = stats_in[(stats_first + i) * 2u];
        inverse[r] = stats_in[(stats_first + i) * 2u + 1u];
    }
    for (var j = 0u; j < params.lk; j++) {
        let k = key_at(group.z, group.y, j) / 4u;
        let v = k + (params.v_first - params.k_first) / 4u;
        var key = array<vec4<f32>, VEC4S>();
        var scores = array<vec4<f32>, ROWS>();
        var changes = array<vec4<f32>, ROWS>();
        // unroll
        for (var c = 0u; c < VEC4S; c++) {
            key[c] = loaded(kv[k + c]);
            // unroll
            for (var r = 0u; r < ROWS; r++) { scores[r] = fma(query[r * VEC4S + c], key[c], scores[r]); }
        }
        // unroll
        for (var c = 0u; c < VEC4S; c++) {
            let value = loaded(kv[v + c]);
            // unroll
            for (var r = 0u; r < ROWS; r++) { changes[r] = fma(slope[r * VEC4S + c], value, changes[r]); }
        }
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            let d = exp(total_of(scores[r]) - largest[r]) * inverse[r] * (total_of(changes[r]) - dot[r]);
            // unroll
            for (var c = 0u; c < VEC4S; c++) { sum[r * VEC4S + c] = fma(vec4(d), key[c], sum[r * VEC4S + c]); }
        }
    }
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let row = first + r;
        if row < params.q_rows {
            let to = ((group.z * params.q_rows + row) * params.q_stride) / 4u + group.y * VEC4S;
            // unroll
            for (var c = 0u; c < VEC4S; c++) {
                dq[to + c] = stored(select(vec4(0.0), sum[r * VEC4S + c] * params.scale, row >= params.q_first));
            }
            if row >= params.q_first { delta[stats_first + row - params.q_first] = dot[r]; }
        }
    }
}

// One row an invocation; gradients of values first, then those of keys, so that an invocation's sums stay in registers.
@compute @workgroup_size(GROUP)
fn backward_kv(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let j = group.x * GROUP + local.x;
    if j >= params.lk { return; }
    var key: array<vec4<f32>, VEC4S>;
    let k = key_at(group.z, group.y, j) / 4u;
    let v = k + (params.v_first - params.k_first) / 4u;
    // unroll
    for (var c = 0u; c < VEC4S; c++) { key[c] = loaded(kv[k + c]) * params.scale; }
    let stats_first = (group.z * params.heads + group.y) * params.lq;
    var sum: array<vec4<f32>, VEC4S>;
    for (var i = 0u; i < params.lq; i++) {
        let from_q = query_at(group.z, group.y, i) / 4u;
        let from_y = y_at(group.z, group.y, i);
        let at = stats_first + i;
        var scores = vec4(0.0);
        // unroll
        for (var c = 0u; c < VEC4S; c++) { scores = fma(loaded(q[from_q + c]), key[c], scores); }
        let p = exp(total_of(scores) - stats_in[at * 2u]) * stats_in[at * 2u + 1u];
        // unroll
        for (var c = 0u; c < VEC4S; c++) { sum[c] = fma(vec4(p), loaded(dy[from_y + c]), sum[c]); }
    }
    var value: array<vec4<f32>, VEC4S>;
    // unroll
    for (var c = 0u; c < VEC4S; c++) {
        value[c] = loaded(kv[v + c]);
        dkv[v + c] = stored(sum[c]);
        sum[c] = vec4(0.0);
    }
    for (var i = 0u; i < params.lq; i++) {
        let from_q = query_at(group.z, group.y, i) / 4u;
        let from_y = y_at(group.z, group.y, i);
        let at = stats_first + i;
        var scores = vec4(0.0);
        var changes = vec4(0.0);
        // unroll
        for (var c = 0u; c < VEC4S; c++) { scores = fma(loaded(q[from_q + c]), key[c], scores); }
        // unroll
        for (var c = 0u; c < VEC4S; c++) { changes = fma(loaded(dy[from_y + c]), value[c], changes); }
        let p = exp(total_of(scores) - stats_in[at * 2u]) * stats_in[at * 2u + 1u];
        let d = p * (total_of(changes) - delta_in[at]) * params.scale;
        // unroll
        for (var c = 0u; c < VEC4S; c++) { sum[c] = fma(vec4(d), loaded(q[from_q + c]), sum[c]); }
    }
    // unroll
    for (var c = 0u; c < VEC4S; c++) { dkv[k + c] = stored(sum[c]); }
}

// ROWS rows an invocation, and both gradients at once: fewest loads, for adapters that have no registers to run out of.
@compute @workgroup_size(GROUP)
fn backward_kv_at_once(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let first = (group.x * GROUP + local.x) * ROWS;
    if first >= params.lk { return; }
    let stats_first = (group.z * params.heads + group.y) * params.lq;
    let to_value = (params.v_first - params.k_first) / 4u;
    var key: array<vec4<f32>, HELD>;
    var value: array<vec4<f32>, HELD>;
    var key_sum: array<vec4<f32>, HELD>;
    var value_sum: array<vec4<f32>, HELD>;
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let k = key_at(group.z, group.y, min(first + r, params.lk - 1u)) / 4u;
        // unroll
        for (var c = 0u; c < VEC4S; c++) {
            key[r * VEC4S + c] = loaded(kv[k + c]) * params.scale;
            value[r * VEC4S + c] = loaded(kv[k + to_value + c]);
            key_sum[r * VEC4S + c] = vec4(0.0);
            value_sum[r * VEC4S + c] = vec4(0.0);
        }
    }
    for (var i = 0u; i < params.lq; i++) {
        let from_q = query_at(group.z, group.y, i) / 4u;
        let from_y = y_at(group.z, group.y, i);
        let largest = stats_in[(stats_first + i) * 2u];
        let inverse = stats_in[(stats_first + i) * 2u + 1u];
        let dot = delta_in[stats_first + i];
        var query = array<vec4<f32>, VEC4S>();
        var slope = array<vec4<f32>, VEC4S>();
        var scores = array<vec4<f32>, ROWS>();
        var changes = array<vec4<f32>, ROWS>();
        // unroll
        for (var c = 0u; c < VEC4S; c++) {
            query[c] = loaded(q[from_q + c]);
            slope[c] = loaded(dy[from_y + c]);
            // unroll
            for (var r = 0u; r < ROWS; r++) {
                scores[r] = fma(query[c], key[r * VEC4S + c], scores[r]);
                changes[r] = fma(slope[c], value[r * VEC4S + c], changes[r]);
            }
        }
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            let p = exp(total_of(scores[r]) - largest) * inverse;
            let d = p * (total_of(changes[r]) - dot) * params.scale;
            // unroll
            for (var c = 0u; c < VEC4S; c++) {
                key_sum[r * VEC4S + c] = fma(vec4(d), query[c], key_sum[r * VEC4S + c]);
                value_sum[r * VEC4S + c] = fma(vec4(p), slope[c], value_sum[r * VEC4S + c]);
            }
        }
    }
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let k = key_at(group.z, group.y, first + r) / 4u;
        // unroll
        for (var c = 0u; c < VEC4S; c++) {
            if first + r < params.lk {
                dkv[k + c] = stored(key_sum[r * VEC4S + c]);
                dkv[k + to_value + c] = stored(value_sum[r * VEC4S + c]);
            }
        }
    }
}
