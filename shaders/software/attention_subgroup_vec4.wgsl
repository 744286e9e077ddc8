// Flash attention for software rasterizers with 64-bit integers, whose loads are dear: one subgroup a workgroup, ROWS
// queries (or keys) a lane. The other side's rows are loaded once by the subgroup, four columns a lane (see
// `matmul_subgroup_vec4.wgsl`), and handed around, TURN rows in a turn, so that what a lane holds, most of it on the
// stack, is fetched once for all of them. Columns are padded with zeros to whole loads; HEAD is a multiple of four. No
// lane leaves early: the others need its loads.
#include "common/attention.wgsl"
#include "common/wide.wgsl"
#include "common/stored_vec4_wide.wgsl"
const LANES: u32 = 8u;
const ROWS: u32 = 2u;
const TURN: u32 = 2u;
const SCORES: u32 = ROWS * TURN;
const LOADS: u32 = (HEAD + 4u * LANES - 1u) / (4u * LANES);
const PADDED: u32 = LOADS * LANES * 4u;
const BLOCK: u32 = ROWS * PADDED;
const HELD: u32 = TURN * LOADS;
const VEC4S: u32 = HEAD / 4u;
const STEP: u32 = 4u;       // Divides VEC4S.
const REST: u32 = HEAD - 4u * STEP;

@group(0) @binding(1) var<storage, read> q: array<Stored>;
@group(0) @binding(2) var<storage, read> kv: array<Stored>;
@group(0) @binding(3) var<storage, read> y_in: array<Stored>;
@group(0) @binding(4) var<storage, read> dy: array<Stored>;
@group(0) @binding(7) var<storage, read_write> y: array<Stored>;
@group(0) @binding(9) var<storage, read_write> dq: array<Stored>;
@group(0) @binding(11) var<storage, read_write> dkv: array<Stored>;

// Where a row of y or dy starts, in values.
fn output_at(batch: u32, head: u32, i: u32) -> u32 {
    return ((batch * params.lq + i) * params.heads + head) * HEAD;
}

const LOWEST: f32 = -3.4028234663852886e38;

// What a workgroup reads of the parameters, once: llvmpipe fetches them for each lane. Places and steps are in vec4s.
struct Held {
    lq: u32, lk: u32,
    q_rows: u32, q_first: u32,
    vec4s: u32,             // VEC4S, but unknown to a compiler, which would unroll the loops over it once more
    queries: u32, query_step: u32,
    keys: u32, key_step: u32,
    outputs: u32, output_step: u32,
    to_value: u32,
    rows: u32,              // of stats and delta, the first
    scale: f32,
}

fn hold(group: vec3<u32>) -> Held {
    let p = params;
    let to_value = (p.v_first - p.k_first) / 4u;
    return Held(
        p.lq, p.lk,
        p.q_rows, p.q_first,
        to_value / p.heads,
        query_at(group.z, group.y, 0u) / 4u, p.q_stride / 4u,
        key_at(group.z, group.y, 0u) / 4u, p.kv_stride / 4u,
        output_at(group.z, group.y, 0u) / 4u, p.heads * HEAD / 4u,
        to_value,
        (group.z * p.heads + group.y) * p.lq,
        p.scale,
    );
}

// Where a key starts, in vec4s; what lies past the last one is that again.
fn key_in_turn(held: Held, j: u32) -> u32 {
    return held.keys + min(j, held.lk - 1u) * held.key_step;
}

// The query of a row, or the nearest.
fn query_of(held: Held, row: u32) -> u32 {
    return min(max(row, held.q_first) - held.q_first, held.lq - 1u);
}

// Moves the columns that follow the first STEP vec4s of each row to the front, so that a loop over columns finds its own at
// constant indices. Unrolled as a whole, reading and storing rows would take LLVM longer to compile than all that is done
// with them.
fn next_columns(block: ptr<function, array<f32, BLOCK>>) {
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        // unroll
        for (var i = 0u; i < REST; i++) { (*block)[r * PADDED + i] = (*block)[r * PADDED + i + 4u * STEP]; }
    }
}

// The four columns that a lane brings in its load `t`.
fn column(t: u32, lane: u32) -> u32 {
    return min(t * LANES + lane, VEC4S - 1u);
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let first = group.x * LANES * ROWS + local.x;
    var query: array<f32, BLOCK>;
    var sum: array<f32, BLOCK>;
    var largest: array<f32, ROWS>;
    var total: array<f32, ROWS>;
    let held = hold(group);
    // unroll
    for (var r = 0u; r < ROWS; r++) { largest[r] = LOWEST; }
    for (var c = 0u; c < held.vec4s; c += STEP) {
        next_columns(&query);
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            let from_q = held.queries + min(first + r * LANES, held.lq - 1u) * held.query_step + c;
            // unroll
            for (var s = 0u; s < STEP; s++) {
                let v = loaded(q[from_q + s]) * held.scale;
                // unroll
                for (var e = 0u; e < 4u; e++) { query[r * PADDED + REST + 4u * s + e] = v[e]; }
            }
        }
    }
    for (var j = 0u; j < held.lk; j += TURN) {
        var score = array<f32, SCORES>();
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            var own = array<vec4<f32>, TURN>();
            // unroll
            for (var s = 0u; s < TURN; s++) { own[s] = loaded(kv[key_in_turn(held, j + s) + column(t, local.x)]); }
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var s = 0u; s < TURN; s++) {
                    // unroll
                    for (var e = 0u; e < 4u; e++) {
                        let a = subgroupShuffle(own[s][e], l);
                        // unroll
                        for (var r = 0u; r < ROWS; r++) {
                            const at = r * PADDED + (t * LANES + l) * 4u + e;
                            score[r * TURN + s] = fma(query[at], a, score[r * TURN + s]);
                        }
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
                score[r * TURN + s] = select(LOWEST, score[r * TURN + s], j + s < held.lk);
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
            var own = array<vec4<f32>, TURN>();
            // unroll
            for (var s = 0u; s < TURN; s++) { own[s] = loaded(kv[key_in_turn(held, j + s) + held.to_value + column(t, local.x)]); }
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    const at = r * PADDED + (t * LANES + l) * 4u;
                    // unroll
                    for (var e = 0u; e < 4u; e++) {
                        sum[at + e] *= keep[r];
                        // unroll
                        for (var s = 0u; s < TURN; s++) {
                            sum[at + e] = fma(p[r * TURN + s], subgroupShuffle(own[s][e], l), sum[at + e]);
                        }
                    }
                }
            }
        }
    }
    for (var c = 0u; c < held.vec4s; c += STEP) {
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            let i = first + r * LANES;
            if i < held.lq {
                let to = held.outputs + i * held.output_step + c;
                // unroll
                for (var s = 0u; s < STEP; s++) {
                    const at = r * PADDED + 4u * s;
                    y[to + s] = stored(vec4(sum[at], sum[at + 1u], sum[at + 2u], sum[at + 3u]) / total[r]);
                }
            }
        }
        next_columns(&sum);
    }
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let i = first + r * LANES;
        if i < held.lq {
            let row = held.rows + i;
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
    let held = hold(group);
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let at = held.rows + query_of(held, first + r * LANES);
        largest[r] = stats_in[at * 2u];
        scale[r] = stats_in[at * 2u + 1u];
    }
    for (var c = 0u; c < held.vec4s; c += STEP) {
        next_columns(&query);
        next_columns(&slope);
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            let i = query_of(held, first + r * LANES);
            let from_q = held.queries + i * held.query_step + c;
            let from_y = held.outputs + i * held.output_step + c;
            // unroll
            for (var s = 0u; s < STEP; s++) {
                let v = loaded(q[from_q + s]) * held.scale;
                let d = loaded(dy[from_y + s]);
                let w = loaded(y_in[from_y + s]);
                // unroll
                for (var e = 0u; e < 4u; e++) {
                    query[r * PADDED + REST + 4u * s + e] = v[e];
                    slope[r * PADDED + REST + 4u * s + e] = d[e];
                    dots[r] = fma(d[e], w[e], dots[r]);
                }
            }
        }
    }
    for (var j = 0u; j < held.lk; j += TURN) {
        var key = array<vec4<f32>, HELD>();
        var score = array<f32, SCORES>();
        var change = array<f32, SCORES>();
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            var value = array<vec4<f32>, TURN>();
            // unroll
            for (var s = 0u; s < TURN; s++) {
                let k = key_in_turn(held, j + s) + column(t, local.x);
                key[s * LOADS + t] = loaded(kv[k]);
                value[s] = loaded(kv[k + held.to_value]);
            }
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var s = 0u; s < TURN; s++) {
                    // unroll
                    for (var e = 0u; e < 4u; e++) {
                        let a = subgroupShuffle(key[s * LOADS + t][e], l);
                        let b = subgroupShuffle(value[s][e], l);
                        // unroll
                        for (var r = 0u; r < ROWS; r++) {
                            const at = r * PADDED + (t * LANES + l) * 4u + e;
                            score[r * TURN + s] = fma(query[at], a, score[r * TURN + s]);
                            change[r * TURN + s] = fma(slope[at], b, change[r * TURN + s]);
                        }
                    }
                }
            }
        }
        var d = array<f32, SCORES>();
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            // unroll
            for (var s = 0u; s < TURN; s++) {
                let p = select(0.0, exp(score[r * TURN + s] - largest[r]) * scale[r], j + s < held.lk);
                d[r * TURN + s] = p * (change[r * TURN + s] - dots[r]);
            }
        }
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    const at = r * PADDED + (t * LANES + l) * 4u;
                    // unroll
                    for (var e = 0u; e < 4u; e++) {
                        // unroll
                        for (var s = 0u; s < TURN; s++) {
                            let a = subgroupShuffle(key[s * LOADS + t][e], l);
                            sum[at + e] = fma(d[r * TURN + s], a, sum[at + e]);
                        }
                    }
                }
            }
        }
    }
    for (var c = 0u; c < held.vec4s; c += STEP) {
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            let row = first + r * LANES;
            if row < held.q_rows {
                let to = held.queries + row * held.query_step + c - held.q_first * held.query_step;
                // unroll
                for (var s = 0u; s < STEP; s++) {
                    const at = r * PADDED + 4u * s;
                    let d = vec4(sum[at], sum[at + 1u], sum[at + 2u], sum[at + 3u]) * held.scale;
                    dq[to + s] = stored(select(vec4(0.0), d, row >= held.q_first));
                }
            }
        }
        next_columns(&sum);
    }
    // unroll
    for (var r = 0u; r < ROWS; r++) {
        let row = first + r * LANES;
        if row < held.q_rows {
            if row >= held.q_first { delta[held.rows + row - held.q_first] = dots[r]; }
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
    let held = hold(group);
    for (var c = 0u; c < held.vec4s; c += STEP) {
        next_columns(&key);
        next_columns(&value);
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            let k = key_in_turn(held, first + r * LANES) + c;
            let v = k + held.to_value;
            // unroll
            for (var s = 0u; s < STEP; s++) {
                let from_key = loaded(kv[k + s]) * held.scale;
                let from_value = loaded(kv[v + s]);
                // unroll
                for (var e = 0u; e < 4u; e++) {
                    key[r * PADDED + REST + 4u * s + e] = from_key[e];
                    value[r * PADDED + REST + 4u * s + e] = from_value[e];
                }
            }
        }
    }
    for (var i = 0u; i < held.lq; i += TURN) {
        var query = array<vec4<f32>, HELD>();
        var slope = array<vec4<f32>, HELD>();
        var score = array<f32, SCORES>();
        var change = array<f32, SCORES>();
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            // unroll
            for (var s = 0u; s < TURN; s++) {
                let row = min(i + s, held.lq - 1u);
                query[s * LOADS + t] = loaded(q[held.queries + row * held.query_step + column(t, local.x)]);
                slope[s * LOADS + t] = loaded(dy[held.outputs + row * held.output_step + column(t, local.x)]);
            }
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var s = 0u; s < TURN; s++) {
                    // unroll
                    for (var e = 0u; e < 4u; e++) {
                        let a = subgroupShuffle(query[s * LOADS + t][e], l);
                        let b = subgroupShuffle(slope[s * LOADS + t][e], l);
                        // unroll
                        for (var r = 0u; r < ROWS; r++) {
                            const at = r * PADDED + (t * LANES + l) * 4u + e;
                            score[r * TURN + s] = fma(a, key[at], score[r * TURN + s]);
                            change[r * TURN + s] = fma(b, value[at], change[r * TURN + s]);
                        }
                    }
                }
            }
        }
        var p = array<f32, SCORES>();
        var d = array<f32, SCORES>();
        // unroll
        for (var s = 0u; s < TURN; s++) {
            let at = held.rows + min(i + s, held.lq - 1u);
            let stat = stats_in[at * 2u + (local.x & 1u)];
            let largest = subgroupShuffle(stat, 0u);
            let inverse = select(0.0, subgroupShuffle(stat, 1u), i + s < held.lq);
            let dots = delta_in[at];
            // unroll
            for (var r = 0u; r < ROWS; r++) {
                p[r * TURN + s] = exp(score[r * TURN + s] - largest) * inverse;
                d[r * TURN + s] = p[r * TURN + s] * (change[r * TURN + s] - dots) * held.scale;
            }
        }
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            // unroll
            for (var l = 0u; l < LANES; l++) {
                // unroll
                for (var r = 0u; r < ROWS; r++) {
                    const at = r * PADDED + (t * LANES + l) * 4u;
                    // unroll
                    for (var e = 0u; e < 4u; e++) {
                        // unroll
                        for (var s = 0u; s < TURN; s++) {
                            let a = subgroupShuffle(query[s * LOADS + t][e], l);
                            let b = subgroupShuffle(slope[s * LOADS + t][e], l);
                            key_sum[at + e] = fma(d[r * TURN + s], a, key_sum[at + e]);
                            value_sum[at + e] = fma(p[r * TURN + s], b, value_sum[at + e]);
                        }
                    }
                }
            }
        }
    }
    for (var c = 0u; c < held.vec4s; c += STEP) {
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            let j = first + r * LANES;
            if j < held.lk {
                let k = held.keys + j * held.key_step + c;
                let v = k + held.to_value;
                // unroll
                for (var s = 0u; s < STEP; s++) {
                    const at = r * PADDED + 4u * s;
                    dkv[k + s] = stored(vec4(key_sum[at], key_sum[at + 1u], key_sum[at + 2u], key_sum[at + 3u]));
                    dkv[v + s] = stored(vec4(value_sum[at], value_sum[at + 1u], value_sum[at + 2u], value_sum[at + 3u]));
                }
            }
        }
        next_columns(&key_sum);
        next_columns(&value_sum);
    }
}
