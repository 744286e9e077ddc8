// Flash attention by cooperative matrices, of values in half precision; scores, softmax and sums are f32. A subgroup takes SIDE
// rows of a head, and LANES / SIDE neighbouring invocations look after each of them. The workgroup copies BLOCK rows of the
// other side into its memory. What a unit computes goes through the workgroup's memory to the invocations that look after
// the rows, and probabilities go back as halves. Rows past the end take another's work and are not stored.
#include "common/cooperative_matrix_16.wgsl"
#include "common/attention_in_eights_f16.wgsl"
const SUBGROUPS: u32 = 4u;      // no more than 4
const LANES: u32 = 32u;
const BLOCK: u32 = 32u;         // a multiple of SIDE
const COLUMNS: u32 = 4u;        // blocks of SIDE columns in a head, the last filled up with zeros
const TURNS: u32 = BLOCK / SIDE;
const EIGHTS: u32 = COLUMNS * SIDE / 8u;  // of a row
const PIECE: u32 = 4u;          // blocks of a piece of columns: a subgroup's rows pass through its memory in PIECES
const PIECES: u32 = COLUMNS / PIECE;
const PIECE_EIGHTS: u32 = PIECE * SIDE / 8u;    // of a piece's row
const OWN_LOADS: u32 = (SIDE * PIECE_EIGHTS + LANES - 1u) / LANES;  // eights of a piece that an invocation copies
const SHARE: u32 = LANES / SIDE;    // invocations that look after a row
const JOINS: u32 = 1u;          // log2(SHARE)
const VEC4S: u32 = BLOCK / 4u / SHARE;      // vec4s of a block that an invocation looks after
const OWN_EIGHTS: u32 = (PIECE_EIGHTS + SHARE - 1u) / SHARE;    // eights of a piece's row that it looks after
const WIDTH: u32 = 64u;         // what a row takes in its subgroup's memory: BLOCK scores, in the backward pass twice as much

const THREADS: u32 = SUBGROUPS * LANES;
const COPIED: u32 = BLOCK * EIGHTS;
const LOADS: u32 = (COPIED + THREADS - 1u) / THREADS;   // eights of a block that an invocation copies
// Rows are eight values longer than they need be, so that those of a block lie in different banks. In vec4s.
const STRIDE: u32 = EIGHTS * 2u + 2u;
const HALVES: u32 = WIDTH / 4u + 2u;
const SUMS: u32 = WIDTH / 4u + 1u;
const LOWEST: f32 = -3.4028234663852886e38;
// How far a score may pass the largest one that sums refer to before these are scaled anew: exp(6) is well within half
// precision.
const SLACK: f32 = 6.0;

// Keys and values, or queries and gradients of y.
var<workgroup> one_side: array<vec4<f16>, BLOCK * STRIDE>;
var<workgroup> other_side: array<vec4<f16>, BLOCK * STRIDE>;
// What matrix units computed of each subgroup's rows, and what they take next.
var<workgroup> sums: array<vec4<f32>, SUBGROUPS * SIDE * SUMS>;
var<workgroup> halves: array<vec4<f16>, SUBGROUPS * SIDE * HALVES>;
// Whose scores passed what sums refer to.
var<workgroup> passed: vec4<u32>;
// Of the copied queries: largest score, 1/sum and dy . y.
var<workgroup> largests: array<vec4<f32>, BLOCK / 4u>;
var<workgroup> inverses: array<vec4<f32>, BLOCK / 4u>;
var<workgroup> dots: array<vec4<f32>, BLOCK / 4u>;

var<private> acc: array<Sum, COLUMNS>;

fn y_at(batch: u32, head: u32, i: u32) -> u32 {
    return ((batch * params.lq + i) * params.heads + head) * HEAD;
}

// What an invocation copies of the next block, on its way meanwhile.
var<private> next_one: array<Eight, LOADS>;
var<private> next_other: array<Eight, LOADS>;

// Keys from `first` on and their values; past the end the last ones.
fn load_keys(batch: u32, head: u32, first: u32, local: u32) {
    // unroll
    for (var l = 0u; l < LOADS; l++) {
        let i = local + l * THREADS;
        let at = key_at(batch, head, min(first + i / EIGHTS, params.lk - 1u));
        next_one[l] = kv_eight(at, i % EIGHTS);
        next_other[l] = kv_eight(at + params.v_first - params.k_first, i % EIGHTS);
    }
}

// The same of queries and the gradients of their results.
fn load_queries(batch: u32, head: u32, first: u32, local: u32) {
    // unroll
    for (var l = 0u; l < LOADS; l++) {
        let i = local + l * THREADS;
        let row = min(first + i / EIGHTS, params.lq - 1u);
        next_one[l] = q_eight(query_at(batch, head, row), i % EIGHTS);
        next_other[l] = dy_eight(y_at(batch, head, row), i % EIGHTS);
    }
}

fn store_loaded(local: u32) {
    // unroll
    for (var l = 0u; l < LOADS; l++) {
        let i = local + l * THREADS;
        if LOADS * THREADS == COPIED || i < COPIED {
            let to = i / EIGHTS * STRIDE + i % EIGHTS * 2u;
            one_side[to] = next_one[l].low;
            one_side[to + 1u] = next_one[l].high;
            other_side[to] = next_other[l].low;
            other_side[to + 1u] = next_other[l].high;
        }
    }
}

// A subgroup's rows as the left side of matmuls.
fn own_block(own: u32, column: u32) -> OfA {
    return coopLoadT<OfA>(&halves[own * HALVES + column * (SIDE / 4u)], HALVES);
}

// A block of the transposed rows of the other side, and of the rows as they are, as the right side of matmuls.
fn one_across(row: u32, column: u32) -> OfB {
    return coopLoad<OfB>(&one_side[row * STRIDE + column * (SIDE / 4u)], STRIDE);
}
fn other_across(row: u32, column: u32) -> OfB {
    return coopLoad<OfB>(&other_side[row * STRIDE + column * (SIDE / 4u)], STRIDE);
}
fn one_along(row: u32, column: u32) -> OfB {
    return coopLoadT<OfB>(&one_side[row * STRIDE + column * (SIDE / 4u)], STRIDE);
}
fn other_along(row: u32, column: u32) -> OfB {
    return coopLoadT<OfB>(&other_side[row * STRIDE + column * (SIDE / 4u)], STRIDE);
}

// Where in a subgroup's memory an eight of a piece of its rows lies, and which row and eight of the rows it is.
struct Own { to: u32, row: u32, eight: u32 }
fn own_eight(own: u32, piece: u32, i: u32) -> Own {
    let row = i / PIECE_EIGHTS;
    let eight = i % PIECE_EIGHTS;
    return Own((own + row) * HALVES + eight * 2u, row, piece * PIECE_EIGHTS + eight);
}

fn put_own(to: u32, v: Eight) {
    halves[to] = v.low;
    halves[to + 1u] = v.high;
}

// The larger, or the sum, of what the invocations hold that look after one row.
fn joined_max(v: f32) -> f32 {
    var all = v;
    // unroll
    for (var i = 0u; i < JOINS; i++) { all = max(all, subgroupShuffleXor(all, 1u << i)); }
    return all;
}
fn joined_sum(v: f32) -> f32 {
    var all = v;
    // unroll
    for (var i = 0u; i < JOINS; i++) { all += subgroupShuffleXor(all, 1u << i); }
    return all;
}

fn sum_of(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn largest_of(v: vec4<f32>) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }

// Which of four columns from `column` on there are.
fn within(column: u32, end: u32) -> vec4<bool> {
    return vec4(column) + vec4(0u, 1u, 2u, 3u) < vec4(end);
}

// Eight results of a row.
fn sums_of(at: u32, eight: u32, scale: f32) -> Eight {
    return Eight(vec4<f16>(sums[at + eight * 2u] * scale), vec4<f16>(sums[at + eight * 2u + 1u] * scale));
}

@compute @workgroup_size(THREADS)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32,
) {
    let first = (group.x * SUBGROUPS + subgroup) * SIDE;
    let own = subgroup * SIDE;
    let row = first + lane / SHARE;
    let at = (own + lane / SHARE) * SUMS;
    let half_at = (own + lane / SHARE) * HALVES;
    if local == 0u { passed = vec4(0u); }
    var query = array<OfA, COLUMNS>();
    // unroll
    for (var piece = 0u; piece < PIECES; piece++) {
        workgroupBarrier();
        // unroll
        for (var l = 0u; l < OWN_LOADS; l++) {
            let to = own_eight(own, piece, lane + l * LANES);
            if to.row < SIDE {
                let query = min(first + to.row, params.lq - 1u);
                put_own(to.to, q_eight(query_at(group.z, group.y, query), to.eight));
            }
        }
        workgroupBarrier();
        // unroll
        for (var b = 0u; b < PIECE; b++) { query[piece * PIECE + b] = own_block(own, b); }
    }
    // unroll
    for (var c = 0u; c < COLUMNS; c++) { acc[c] = Sum(); }
    // Of the row: its largest score, the one that sums refer to, the sum of exponentials.
    var largest = LOWEST;
    var base = LOWEST;
    var total = 0.0;
    load_keys(group.z, group.y, 0u, local);
    for (var start = 0u; start < params.lk; start += BLOCK) {
        workgroupBarrier();
        store_loaded(local);
        workgroupBarrier();
        load_keys(group.z, group.y, start + BLOCK, local);
        // unroll
        for (var t = 0u; t < TURNS; t++) {
            var s = Sum();
            // unroll
            for (var c = 0u; c < COLUMNS; c++) { s = coopMultiplyAdd(query[c], one_across(t * SIDE, c), s); }
            let scores = s;
            coopStoreT(scores, &sums[own * SUMS + t * (SIDE / 4u)], SUMS);
        }
        workgroupBarrier();
        var p = array<vec4<f32>, VEC4S>();
        var top = LOWEST;
        // unroll
        for (var i = 0u; i < VEC4S; i++) {
            let column4 = i * SHARE + lane % SHARE;
            p[i] = select(vec4(LOWEST), sums[at + column4] * params.scale, within(start + column4 * 4u, params.lk));
            top = max(top, largest_of(p[i]));
        }
        largest = max(largest, joined_max(top));
        var keep = 1.0;
        if largest > base + SLACK {
            keep = exp(base - largest);
            base = largest;
        }
        var sum = 0.0;
        // unroll
        for (var i = 0u; i < VEC4S; i++) {
            p[i] = exp(p[i] - base);
            sum += sum_of(p[i]);
            halves[half_at + i * SHARE + lane % SHARE] = vec4<f16>(p[i]);
        }
        total = fma(total, keep, joined_sum(sum));
        // The first block has nothing to scale.
        let passes = subgroupMin(keep) < 1.0 && start > 0u;
        if lane == 0u { passed[subgroup] = u32(passes); }
        let any_passed = workgroupUniformLoad(&passed);
        if any(any_passed != vec4(0u)) {
            // unroll
            for (var piece = 0u; piece < PIECES; piece++) {
                // unroll
                for (var b = 0u; b < PIECE; b++) {
                    let found = acc[piece * PIECE + b];
                    coopStoreT(found, &sums[own * SUMS + b * (SIDE / 4u)], SUMS);
                }
                workgroupBarrier();
                // unroll
                for (var e = 0u; e < OWN_EIGHTS; e++) {
                    let eight = e * SHARE + lane % SHARE;
                    if eight < PIECE_EIGHTS {
                        sums[at + eight * 2u] *= keep;
                        sums[at + eight * 2u + 1u] *= keep;
                    }
                }
                workgroupBarrier();
                // unroll
                for (var b = 0u; b < PIECE; b++) {
                    acc[piece * PIECE + b] = coopLoadT<Sum>(&sums[own * SUMS + b * (SIDE / 4u)], SUMS);
                }
                workgroupBarrier();
            }
        }
        // unroll
        for (var t = 0u; t < TURNS; t++) {
            let part = own_block(own, t);
            // unroll
            for (var c = 0u; c < COLUMNS; c++) { acc[c] = coopMultiplyAdd(part, other_along(t * SIDE, c), acc[c]); }
        }
    }
    let to = y_at(group.z, group.y, min(row, params.lq - 1u));
    // unroll
    for (var piece = 0u; piece < PIECES; piece++) {
        workgroupBarrier();
        // unroll
        for (var b = 0u; b < PIECE; b++) {
            let found = acc[piece * PIECE + b];
            coopStoreT(found, &sums[own * SUMS + b * (SIDE / 4u)], SUMS);
        }
        workgroupBarrier();
        // unroll
        for (var e = 0u; e < OWN_EIGHTS; e++) {
            let eight = e * SHARE + lane % SHARE;
            if row < params.lq && eight < PIECE_EIGHTS {
                put_y(to, piece * PIECE_EIGHTS + eight, sums_of(at, eight, 1.0 / total));
            }
        }
    }
    if row < params.lq && lane % SHARE == 0u {
        let to_stats = ((group.z * params.heads + group.y) * params.lq + row) * 2u;
        stats[to_stats] = largest;
        stats[to_stats + 1u] = exp(largest - base) / total;
    }
}

// The query of a row of dq. Rows that ask nothing take another's work, and zeros at the end.
fn query_of(row: u32) -> u32 {
    return min(max(row, params.q_first) - params.q_first, params.lq - 1u);
}

@compute @workgroup_size(THREADS)
fn backward_q(
    @builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32,
) {
    let first = (group.x * SUBGROUPS + subgroup) * SIDE;
    let own = subgroup * SIDE;
    let row = first + lane / SHARE;
    let at = (own + lane / SHARE) * SUMS;
    let half_at = (own + lane / SHARE) * HALVES;
    let stats_first = (group.z * params.heads + group.y) * params.lq;
    var query = array<OfA, COLUMNS>();
    var slope = array<OfA, COLUMNS>();
    // unroll
    for (var piece = 0u; piece < PIECES; piece++) {
        workgroupBarrier();
        // unroll
        for (var l = 0u; l < OWN_LOADS; l++) {
            let to = own_eight(own, piece, lane + l * LANES);
            if to.row < SIDE {
                put_own(to.to, q_eight(query_at(group.z, group.y, query_of(first + to.row)), to.eight));
            }
        }
        workgroupBarrier();
        // unroll
        for (var b = 0u; b < PIECE; b++) { query[piece * PIECE + b] = own_block(own, b); }
    }
    // unroll
    for (var piece = 0u; piece < PIECES; piece++) {
        workgroupBarrier();
        // unroll
        for (var l = 0u; l < OWN_LOADS; l++) {
            let to = own_eight(own, piece, lane + l * LANES);
            if to.row < SIDE {
                put_own(to.to, dy_eight(y_at(group.z, group.y, query_of(first + to.row)), to.eight));
            }
        }
        workgroupBarrier();
        // unroll
        for (var b = 0u; b < PIECE; b++) { slope[piece * PIECE + b] = own_block(own, b); }
    }
    // unroll
    for (var c = 0u; c < COLUMNS; c++) { acc[c] = Sum(); }
    var dot = 0.0;
    let from_y = y_at(group.z, group.y, query_of(row));
    for (var eight = lane % SHARE; eight < EIGHTS; eight += SHARE) {
        let made = y_eight(from_y, eight);
        let changed = dy_eight(from_y, eight);
        let v = vec4<f32>(made.low) * vec4<f32>(changed.low);
        dot += sum_of(fma(vec4<f32>(made.high), vec4<f32>(changed.high), v));
    }
    dot = joined_sum(dot);
    let own_stats = (stats_first + query_of(row)) * 2u;
    let largest = stats_in[own_stats];
    let inverse = stats_in[own_stats + 1u];
    let asks = (group.x + 1u) * SUBGROUPS * SIDE > params.q_first;
    let keys = select(0u, params.lk, asks);
    load_keys(group.z, group.y, 0u, local);
    for (var start = 0u; start < keys; start += BLOCK) {
        workgroupBarrier();
        store_loaded(local);
        workgroupBarrier();
        load_keys(group.z, group.y, start + BLOCK, local);
        // unroll
        for (var t = 0u; t < TURNS; t++) {
            var s = Sum();
            var d = Sum();
            // unroll
            for (var c = 0u; c < COLUMNS; c++) {
                s = coopMultiplyAdd(query[c], one_across(t * SIDE, c), s);
                d = coopMultiplyAdd(slope[c], other_across(t * SIDE, c), d);
            }
            let scores = s;
            let changes = d;
            coopStoreT(scores, &sums[own * SUMS + t * (SIDE / 4u)], SUMS);
            coopStoreT(changes, &sums[own * SUMS + (BLOCK + t * SIDE) / 4u], SUMS);
        }
        workgroupBarrier();
        // unroll
        for (var i = 0u; i < VEC4S; i++) {
            let column4 = i * SHARE + lane % SHARE;
            let p = exp(fma(sums[at + column4], vec4(params.scale), vec4(-largest))) * inverse;
            let d = p * (sums[at + BLOCK / 4u + column4] - dot);
            halves[half_at + column4] = vec4<f16>(select(vec4(0.0), d, within(start + column4 * 4u, params.lk)));
        }
        workgroupBarrier();
        // unroll
        for (var t = 0u; t < TURNS; t++) {
            let part = own_block(own, t);
            // unroll
            for (var c = 0u; c < COLUMNS; c++) { acc[c] = coopMultiplyAdd(part, one_along(t * SIDE, c), acc[c]); }
        }
    }
    let to = (group.z * params.q_rows + min(row, params.q_rows - 1u)) * params.q_stride + group.y * HEAD;
    let scale = select(0.0, params.scale, row >= params.q_first);
    // unroll
    for (var piece = 0u; piece < PIECES; piece++) {
        workgroupBarrier();
        // unroll
        for (var b = 0u; b < PIECE; b++) {
            let found = acc[piece * PIECE + b];
            coopStoreT(found, &sums[own * SUMS + b * (SIDE / 4u)], SUMS);
        }
        workgroupBarrier();
        // unroll
        for (var e = 0u; e < OWN_EIGHTS; e++) {
            let eight = e * SHARE + lane % SHARE;
            if row < params.q_rows && eight < PIECE_EIGHTS {
                put_dq(to, piece * PIECE_EIGHTS + eight, sums_of(at, eight, scale));
            }
        }
    }
    if row < params.q_rows && row >= params.q_first && lane % SHARE == 0u {
        delta[stats_first + row - params.q_first] = dot;
    }
}

var<private> value_acc: array<Sum, COLUMNS>;

// The rows are keys here; those of the other side are queries.
@compute @workgroup_size(THREADS)
fn backward_kv(
    @builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32,
) {
    let first = (group.x * SUBGROUPS + subgroup) * SIDE;
    let own = subgroup * SIDE;
    let row = first + lane / SHARE;
    let at = (own + lane / SHARE) * SUMS;
    let half_at = (own + lane / SHARE) * HALVES;
    let stats_first = (group.z * params.heads + group.y) * params.lq;
    let to_value = params.v_first - params.k_first;
    var key = array<OfA, COLUMNS>();
    var value = array<OfA, COLUMNS>();
    // unroll
    for (var piece = 0u; piece < PIECES; piece++) {
        workgroupBarrier();
        // unroll
        for (var l = 0u; l < OWN_LOADS; l++) {
            let to = own_eight(own, piece, lane + l * LANES);
            if to.row < SIDE {
                let row = min(first + to.row, params.lk - 1u);
                put_own(to.to, kv_eight(key_at(group.z, group.y, row), to.eight));
            }
        }
        workgroupBarrier();
        // unroll
        for (var b = 0u; b < PIECE; b++) { key[piece * PIECE + b] = own_block(own, b); }
    }
    // unroll
    for (var piece = 0u; piece < PIECES; piece++) {
        workgroupBarrier();
        // unroll
        for (var l = 0u; l < OWN_LOADS; l++) {
            let to = own_eight(own, piece, lane + l * LANES);
            if to.row < SIDE {
                let row = min(first + to.row, params.lk - 1u);
                put_own(to.to, kv_eight(key_at(group.z, group.y, row) + to_value, to.eight));
            }
        }
        workgroupBarrier();
        // unroll
        for (var b = 0u; b < PIECE; b++) { value[piece * PIECE + b] = own_block(own, b); }
    }
    // unroll
    for (var c = 0u; c < COLUMNS; c++) {
        acc[c] = Sum();
        value_acc[c] = Sum();
    }
    load_queries(group.z, group.y, 0u, local);
    for (var start = 0u; start < params.lq; start += BLOCK) {
        workgroupBarrier();
        store_loaded(local);
        for (var i = local; i < BLOCK; i += THREADS) {
            let query = stats_first + min(start + i, params.lq - 1u);
            largests[i / 4u][i % 4u] = stats_in[query * 2u];
            inverses[i / 4u][i % 4u] = stats_in[query * 2u + 1u];
            dots[i / 4u][i % 4u] = delta_in[query];
        }
        workgroupBarrier();
        load_queries(group.z, group.y, start + BLOCK, local);
        // unroll
        for (var t = 0u; t < TURNS; t++) {
            var s = Sum();
            var d = Sum();
            // unroll
            for (var c = 0u; c < COLUMNS; c++) {
                s = coopMultiplyAdd(key[c], one_across(t * SIDE, c), s);
                d = coopMultiplyAdd(value[c], other_across(t * SIDE, c), d);
            }
            let scores = s;
            let changes = d;
            coopStoreT(scores, &sums[own * SUMS + t * (SIDE / 4u)], SUMS);
            coopStoreT(changes, &sums[own * SUMS + (BLOCK + t * SIDE) / 4u], SUMS);
        }
        workgroupBarrier();
        // unroll
        for (var i = 0u; i < VEC4S; i++) {
            let column4 = i * SHARE + lane % SHARE;
            let there = within(start + column4 * 4u, params.lq);
            let p = exp(fma(sums[at + column4], vec4(params.scale), -largests[column4])) * inverses[column4];
            let d = p * (sums[at + BLOCK / 4u + column4] - dots[column4]);
            halves[half_at + column4] = vec4<f16>(select(vec4(0.0), p, there));
            halves[half_at + BLOCK / 4u + column4] = vec4<f16>(select(vec4(0.0), d, there));
        }
        workgroupBarrier();
        // unroll
        for (var t = 0u; t < TURNS; t++) {
            let part = own_block(own, t);
            let change = own_block(own, TURNS + t);
            // unroll
            for (var c = 0u; c < COLUMNS; c++) {
                value_acc[c] = coopMultiplyAdd(part, other_along(t * SIDE, c), value_acc[c]);
                acc[c] = coopMultiplyAdd(change, one_along(t * SIDE, c), acc[c]);
            }
        }
    }
    let to = key_at(group.z, group.y, min(row, params.lk - 1u));
    // unroll
    for (var piece = 0u; piece < PIECES; piece++) {
        workgroupBarrier();
        // unroll
        for (var b = 0u; b < PIECE; b++) {
            let found = acc[piece * PIECE + b];
            coopStoreT(found, &sums[own * SUMS + b * (SIDE / 4u)], SUMS);
        }
        workgroupBarrier();
        // unroll
        for (var e = 0u; e < OWN_EIGHTS; e++) {
            let eight = e * SHARE + lane % SHARE;
            if row < params.lk && eight < PIECE_EIGHTS {
                put_dkv(to, piece * PIECE_EIGHTS + eight, sums_of(at, eight, params.scale));
            }
        }
    }
    // unroll
    for (var piece = 0u; piece < PIECES; piece++) {
        workgroupBarrier();
        // unroll
        for (var b = 0u; b < PIECE; b++) {
            let found = value_acc[piece * PIECE + b];
            coopStoreT(found, &sums[own * SUMS + b * (SIDE / 4u)], SUMS);
        }
        workgroupBarrier();
        // unroll
        for (var e = 0u; e < OWN_EIGHTS; e++) {
            let eight = e * SHARE + lane % SHARE;
            if row < params.lk && eight < PIECE_EIGHTS {
                put_dkv(to + to_value, piece * PIECE_EIGHTS + eight, sums_of(at, eight, 1.0));
            }
        }
    }
}
