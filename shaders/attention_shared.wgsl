// Flash attention through shared memory, for GPUs. A team of LANES invocations shares a few rows: each holds some vec4s of columns of all of
// them, so that a load feeds every row. The workgroup copies BLOCK rows of the other side into its memory, teams take
// KEYS of them at a time: the parts of a score that invocations compute go to one of them, which adds them up and hands
// the result to its team. Rows past the end take another's work and are not stored.
#include "common/attention_in_vec4.wgsl"
const GROUP: u32 = 64u;
const LANES: u32 = 4u;      // no fewer than KEYS * PAIRS
const COLS: u32 = 4u;       // vec4s of columns of an invocation
const VALUES: u32 = COLS * 4u;
const BLOCK: u32 = 16u;     // a multiple of KEYS
const KEYS: u32 = 4u;
const PAIRS: u32 = 1u;      // pairs of rows of a team in the backward pass; one in the forward pass

const TEAMS: u32 = GROUP / LANES;
const PADDED: u32 = COLS * LANES;   // vec4s of a row, with zeros up to a multiple of LANES
const COPIED: u32 = BLOCK * PADDED;
const LOADS: u32 = (COPIED + GROUP - 1u) / GROUP;   // vec4s of a block that an invocation copies
// One more than there are, so that what a team's invocations add up lies in different banks.
const STRIDE: u32 = GROUP + 1u;
const LOWEST: f32 = -3.4028234663852886e38;

// Keys and values, or queries and gradients of y: vec4 c of row j at j * PADDED + c.
var<workgroup> one_side: array<vec4<f32>, COPIED>;
var<workgroup> other_side: array<vec4<f32>, COPIED>;
// What an invocation computes for a unit, a key (and a pair of rows), at the unit's number * STRIDE and its own number;
// and what its team needs of all that.
const UNITS: u32 = KEYS * PAIRS;
var<workgroup> parts: array<vec4<f32>, UNITS * STRIDE>;
var<workgroup> wholes: array<vec4<f32>, UNITS * TEAMS>;

fn y_at(batch: u32, head: u32, i: u32) -> u32 {
    return ((batch * params.lq + i) * params.heads + head) * HEAD;
}

// Copies keys from `first` on and their values. Past the end they are the last ones, which no score lets through.
fn copy_keys(batch: u32, head: u32, first: u32, local: u32) {
    // unroll
    for (var l = 0u; l < LOADS; l++) {
        let i = local + l * GROUP;
        let at = key_at(batch, head, min(first + i / PADDED, params.lk - 1u));
        let key = kv_vec4(at, i % PADDED);
        let value = kv_vec4(at + params.v_first - params.k_first, i % PADDED);
        if LOADS * GROUP == COPIED || i < COPIED {
            one_side[i] = key;
            other_side[i] = value;
        }
    }
}

// The same of queries and the gradients of their results.
fn copy_queries(batch: u32, head: u32, first: u32, local: u32) {
    // unroll
    for (var l = 0u; l < LOADS; l++) {
        let i = local + l * GROUP;
        let row = min(first + i / PADDED, params.lq - 1u);
        let query = q_vec4(query_at(batch, head, row), i % PADDED);
        let slope = dy_vec4(y_at(batch, head, row), i % PADDED);
        if LOADS * GROUP == COPIED || i < COPIED {
            one_side[i] = query;
            other_side[i] = slope;
        }
    }
}

fn split_k_sum(unit: u32, team: u32) -> vec4<f32> {
    var sum = vec4(0.0);
    // unroll
    for (var l = 0u; l < LANES; l++) { sum += parts[unit * STRIDE + team * LANES + l]; }
    return sum;
}

// Stored rows a team; their values of one column are a vector.
@compute @workgroup_size(GROUP)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % LANES;
    let team = local / LANES;
    let first = (group.x * TEAMS + team) * 4u;
    let busy = first < params.lq;
    var query: array<vec4<f32>, VALUES>;
    var sum: array<vec4<f32>, VALUES>;
    // unroll
    for (var r = 0u; r < 4u; r++) {
        let from_q = query_at(group.z, group.y, min(first + r, params.lq - 1u));
        // unroll
        for (var c = 0u; c < COLS; c++) {
            let v = q_vec4(from_q, c * LANES + lane) * params.scale;
            // unroll
            for (var i = 0u; i < 4u; i++) { query[c * 4u + i][r] = v[i]; }
        }
    }
    // unroll
    for (var i = 0u; i < VALUES; i++) { sum[i] = vec4(0.0); }
    var largest = vec4(LOWEST);
    var total = vec4(0.0);
    for (var start = 0u; start < params.lk; start += BLOCK) {
        workgroupBarrier();
        copy_keys(group.z, group.y, start, local);
        workgroupBarrier();
        let end = min(start + BLOCK, params.lk);
        for (var j = start; j < end; j += KEYS) {
            let at = (j - start) * PADDED + lane;
            if busy {
                var scores = array<vec4<f32>, KEYS>();
                // unroll
                for (var c = 0u; c < COLS; c++) {
                    // unroll
                    for (var k = 0u; k < KEYS; k++) {
                        let key = one_side[at + k * PADDED + c * LANES];
                        // unroll
                        for (var i = 0u; i < 4u; i++) { scores[k] = fma(query[c * 4u + i], vec4(key[i]), scores[k]); }
                    }
                }
                // unroll
                for (var k = 0u; k < KEYS; k++) { parts[k * STRIDE + local] = scores[k]; }
            }
            workgroupBarrier();
            if busy && lane < KEYS {
                let score = split_k_sum(lane, team);
                wholes[team * KEYS + lane] = select(vec4(LOWEST), score, j + lane < params.lk);
            }
            workgroupBarrier();
            if busy {
                var p = array<vec4<f32>, KEYS>();
                var top = largest;
                // unroll
                for (var k = 0u; k < KEYS; k++) {
                    p[k] = wholes[team * KEYS + k];
                    top = max(top, p[k]);
                }
                let keep = exp(largest - top);
                largest = top;
                total *= keep;
                // unroll
                for (var k = 0u; k < KEYS; k++) {
                    p[k] = exp(p[k] - top);
                    total += p[k];
                }
                // unroll
                for (var i = 0u; i < VALUES; i++) { sum[i] *= keep; }
                // unroll
                for (var c = 0u; c < COLS; c++) {
                    // unroll
                    for (var k = 0u; k < KEYS; k++) {
                        let value = other_side[at + k * PADDED + c * LANES];
                        // unroll
                        for (var i = 0u; i < 4u; i++) { sum[c * 4u + i] = fma(p[k], vec4(value[i]), sum[c * 4u + i]); }
                    }
                }
            }
        }
    }
    let stats_first = (group.z * params.heads + group.y) * params.lq;
    // unroll
    for (var r = 0u; r < 4u; r++) {
        let row = first + r;
        if row < params.lq {
            let to = y_at(group.z, group.y, row);
            // unroll
            for (var c = 0u; c < COLS; c++) {
                var v = vec4(0.0);
                // unroll
                for (var i = 0u; i < 4u; i++) { v[i] = sum[c * 4u + i][r]; }
                put_y(to, c * LANES + lane, v / total[r]);
            }
            if lane == r {
                stats[(stats_first + row) * 2u] = largest[r];
                stats[(stats_first + row) * 2u + 1u] = 1.0 / total[r];
            }
        }
    }
}

// The query of a row of dq. Rows that ask nothing take another's work, and zeros at the end.
fn query_of(row: u32) -> u32 {
    return min(max(row, params.q_first) - params.q_first, params.lq - 1u);
}

// PAIRS pairs of rows a team; a pair's scores and the matmuls of its gradients with values are one vector.
@compute @workgroup_size(GROUP)
fn backward_q(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % LANES;
    let team = local / LANES;
    let first = (group.x * TEAMS + team) * PAIRS * 2u;
    let stats_first = (group.z * params.heads + group.y) * params.lq;
    let busy = first < params.q_rows;
    var query: array<vec2<f32>, PAIRS * VALUES>;
    var slope: array<vec2<f32>, PAIRS * VALUES>;
    var sum: array<vec2<f32>, PAIRS * VALUES>;
    // unroll
    for (var t = 0u; t < PAIRS; t++) {
        var dots = vec4(0.0);
        // unroll
        for (var r = 0u; r < 2u; r++) {
            let row = query_of(first + t * 2u + r);
            let from_q = query_at(group.z, group.y, row);
            let from_y = y_at(group.z, group.y, row);
            // unroll
            for (var c = 0u; c < COLS; c++) {
                let v = q_vec4(from_q, c * LANES + lane) * params.scale;
                let d = dy_vec4(from_y, c * LANES + lane);
                let made = y_vec4(from_y, c * LANES + lane);
                // unroll
                for (var i = 0u; i < 4u; i++) {
                    query[t * VALUES + c * 4u + i][r] = v[i];
                    slope[t * VALUES + c * 4u + i][r] = d[i];
                    sum[t * VALUES + c * 4u + i][r] = 0.0;
                    dots[r] = fma(d[i], made[i], dots[r]);
                }
            }
        }
        parts[t * STRIDE + local] = dots;
    }
    workgroupBarrier();
    // The pair whose scores this invocation adds up.
    let own = min(lane / KEYS, PAIRS - 1u);
    let dot = split_k_sum(own, team).xy;
    var largest = vec2(0.0);
    var inverse = vec2(0.0);
    // unroll
    for (var r = 0u; r < 2u; r++) {
        let at = stats_first + query_of(first + own * 2u + r);
        largest[r] = stats_in[at * 2u];
        inverse[r] = stats_in[at * 2u + 1u];
    }
    let asks = (group.x + 1u) * TEAMS * PAIRS * 2u > params.q_first;
    let keys = select(0u, params.lk, asks);
    for (var start = 0u; start < keys; start += BLOCK) {
        workgroupBarrier();
        copy_keys(group.z, group.y, start, local);
        workgroupBarrier();
        let end = min(start + BLOCK, keys);
        for (var j = start; j < end; j += KEYS) {
            let at = (j - start) * PADDED + lane;
            if busy {
                var scores = array<vec2<f32>, UNITS>();
                var changes = array<vec2<f32>, UNITS>();
                // unroll
                for (var c = 0u; c < COLS; c++) {
                    // unroll
                    for (var k = 0u; k < KEYS; k++) {
                        let key = one_side[at + k * PADDED + c * LANES];
                        let value = other_side[at + k * PADDED + c * LANES];
                        // unroll
                        for (var t = 0u; t < PAIRS; t++) {
                            let u = t * KEYS + k;
                            // unroll
                            for (var i = 0u; i < 4u; i++) {
                                scores[u] = fma(query[t * VALUES + c * 4u + i], vec2(key[i]), scores[u]);
                                changes[u] = fma(slope[t * VALUES + c * 4u + i], vec2(value[i]), changes[u]);
                            }
                        }
                    }
                }
                // unroll
                for (var t = 0u; t < PAIRS; t++) {
                    // unroll
                    for (var k = 0u; k < KEYS; k++) {
                        parts[(t * KEYS + k) * STRIDE + local] = vec4(scores[t * KEYS + k], changes[t * KEYS + k]);
                    }
                }
            }
            workgroupBarrier();
            if busy && lane < UNITS {
                let whole = split_k_sum(lane, team);
                let d = exp(whole.xy - largest) * inverse * (whole.zw - dot);
                wholes[team * UNITS + lane] = select(vec4(0.0), vec4(d, 0.0, 0.0), j + lane % KEYS < params.lk);
            }
            workgroupBarrier();
            if busy {
                // unroll
                for (var k = 0u; k < KEYS; k++) {
                    var d = array<vec2<f32>, PAIRS>();
                    // unroll
                    for (var t = 0u; t < PAIRS; t++) { d[t] = wholes[team * UNITS + t * KEYS + k].xy; }
                    // unroll
                    for (var c = 0u; c < COLS; c++) {
                        let key = one_side[at + k * PADDED + c * LANES];
                        // unroll
                        for (var t = 0u; t < PAIRS; t++) {
                            // unroll
                            for (var i = 0u; i < 4u; i++) {
                                let v = sum[t * VALUES + c * 4u + i];
                                sum[t * VALUES + c * 4u + i] = fma(d[t], vec2(key[i]), v);
                            }
                        }
                    }
                }
            }
        }
    }
    // unroll
    for (var t = 0u; t < PAIRS; t++) {
        // unroll
        for (var r = 0u; r < 2u; r++) {
            let row = first + t * 2u + r;
            if row < params.q_rows {
                let to = (group.z * params.q_rows + row) * params.q_stride + group.y * HEAD;
                // unroll
                for (var c = 0u; c < COLS; c++) {
                    var v = vec4(0.0);
                    // unroll
                    for (var i = 0u; i < 4u; i++) { v[i] = sum[t * VALUES + c * 4u + i][r]; }
                    put_dq(to, c * LANES + lane, select(vec4(0.0), v * params.scale, row >= params.q_first));
                }
                if lane == t * KEYS + r && row >= params.q_first { delta[stats_first + row - params.q_first] = dot[r]; }
            }
        }
    }
}

// The rows are keys here; those of the other side are queries.
@compute @workgroup_size(GROUP)
fn backward_kv(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % LANES;
    let team = local / LANES;
    let first = (group.x * TEAMS + team) * PAIRS * 2u;
    let stats_first = (group.z * params.heads + group.y) * params.lq;
    let to_value = params.v_first - params.k_first;
    let busy = first < params.lk;
    var key: array<vec2<f32>, PAIRS * VALUES>;
    var value: array<vec2<f32>, PAIRS * VALUES>;
    var key_sum: array<vec2<f32>, PAIRS * VALUES>;
    var value_sum: array<vec2<f32>, PAIRS * VALUES>;
    // unroll
    for (var t = 0u; t < PAIRS; t++) {
        // unroll
        for (var r = 0u; r < 2u; r++) {
            let from_k = key_at(group.z, group.y, min(first + t * 2u + r, params.lk - 1u));
            // unroll
            for (var c = 0u; c < COLS; c++) {
                let k = kv_vec4(from_k, c * LANES + lane) * params.scale;
                let v = kv_vec4(from_k + to_value, c * LANES + lane);
                // unroll
                for (var i = 0u; i < 4u; i++) {
                    key[t * VALUES + c * 4u + i][r] = k[i];
                    value[t * VALUES + c * 4u + i][r] = v[i];
                    key_sum[t * VALUES + c * 4u + i][r] = 0.0;
                    value_sum[t * VALUES + c * 4u + i][r] = 0.0;
                }
            }
        }
    }
    for (var start = 0u; start < params.lq; start += BLOCK) {
        workgroupBarrier();
        copy_queries(group.z, group.y, start, local);
        workgroupBarrier();
        let end = min(start + BLOCK, params.lq);
        for (var j = start; j < end; j += KEYS) {
            let at = (j - start) * PADDED + lane;
            // Of the query whose parts this invocation adds up; on their way meanwhile.
            let own = stats_first + min(j + lane % KEYS, params.lq - 1u);
            let largest = stats_in[own * 2u];
            let inverse = stats_in[own * 2u + 1u];
            let dot = delta_in[own];
            if busy {
                var scores = array<vec2<f32>, UNITS>();
                var changes = array<vec2<f32>, UNITS>();
                // unroll
                for (var c = 0u; c < COLS; c++) {
                    // unroll
                    for (var k = 0u; k < KEYS; k++) {
                        let query = one_side[at + k * PADDED + c * LANES];
                        let slope = other_side[at + k * PADDED + c * LANES];
                        // unroll
                        for (var t = 0u; t < PAIRS; t++) {
                            let u = t * KEYS + k;
                            // unroll
                            for (var i = 0u; i < 4u; i++) {
                                scores[u] = fma(key[t * VALUES + c * 4u + i], vec2(query[i]), scores[u]);
                                changes[u] = fma(value[t * VALUES + c * 4u + i], vec2(slope[i]), changes[u]);
                            }
                        }
                    }
                }
                // unroll
                for (var t = 0u; t < PAIRS; t++) {
                    // unroll
                    for (var k = 0u; k < KEYS; k++) {
                        parts[(t * KEYS + k) * STRIDE + local] = vec4(scores[t * KEYS + k], changes[t * KEYS + k]);
                    }
                }
            }
            workgroupBarrier();
            if busy && lane < UNITS {
                let whole = split_k_sum(lane, team);
                let p = exp(whole.xy - largest) * inverse;
                let d = p * (whole.zw - dot) * params.scale;
                wholes[team * UNITS + lane] = select(vec4(0.0), vec4(p, d), j + lane % KEYS < params.lq);
            }
            workgroupBarrier();
            if busy {
                // unroll
                for (var k = 0u; k < KEYS; k++) {
                    var whole = array<vec4<f32>, PAIRS>();
                    // unroll
                    for (var t = 0u; t < PAIRS; t++) { whole[t] = wholes[team * UNITS + t * KEYS + k]; }
                    // unroll
                    for (var c = 0u; c < COLS; c++) {
                        let query = one_side[at + k * PADDED + c * LANES];
                        let slope = other_side[at + k * PADDED + c * LANES];
                        // unroll
                        for (var t = 0u; t < PAIRS; t++) {
                            // unroll
                            for (var i = 0u; i < 4u; i++) {
                                let dk = key_sum[t * VALUES + c * 4u + i];
                                let dv = value_sum[t * VALUES + c * 4u + i];
                                key_sum[t * VALUES + c * 4u + i] = fma(whole[t].zw, vec2(query[i]), dk);
                                value_sum[t * VALUES + c * 4u + i] = fma(whole[t].xy, vec2(slope[i]), dv);
                            }
                        }
                    }
                }
            }
        }
    }
    // unroll
    for (var t = 0u; t < PAIRS; t++) {
        // unroll
        for (var r = 0u; r < 2u; r++) {
            if first + t * 2u + r < params.lk {
                let to = key_at(group.z, group.y, first + t * 2u + r);
                // unroll
                for (var c = 0u; c < COLS; c++) {
                    var k = vec4(0.0);
                    var v = vec4(0.0);
                    // unroll
                    for (var i = 0u; i < 4u; i++) {
                        k[i] = key_sum[t * VALUES + c * 4u + i][r];
                        v[i] = value_sum[t * VALUES + c * 4u + i][r];
                    }
                    put_dkv(to, c * LANES + lane, k);
                    put_dkv(to + to_value, c * LANES + lane, v);
                }
            }
        }
    }
}
