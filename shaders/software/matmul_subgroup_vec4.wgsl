// Matmul for software rasterizers with 64-bit integers: as `matmul_subgroup.wgsl`, but every load fetches a pack
// of four or eight neighbouring values at once (see `common/packs.wgsl`). What llvmpipe does for a load it does for each lane: it
// finds out whether the lane is active and where it reads, and for each 64 bits whether they lie in the buffer, and inserts
// what it read into a vector. That takes nearly half of a matmul's time, so a tile is as large as lets its instructions
// stay in a processor's cache. Parameters are read once, before the loops, since llvmpipe fetches them for each lane.
//
// Packs lie along k where a (or b) is stored so, otherwise along m (or n). Columns always lie in a lane side by pack, so
// that results are stored as packs. n is a multiple of PACK, and k (or m) where packs of a lie along it, and k where packs
// of b do. What lies beyond the last row or column is computed as the last pack (or row) again, and stored there again:
// compilers are slow with many branches.
#include "common/matmul.wgsl"
#include "common/wide.wgsl"
#include "common/stored_vec4_wide.wgsl"
#include "common/packs_wide.wgsl"
#include "common/operands_packs.wgsl"
#include "common/epilogue_packs.wgsl"
#include "common/no_column_sums.wgsl"
const LANES: u32 = 8u;
const ROWS: u32 = 64u;      // rows of a tile, any number where packs of a lie along k
const COLS: u32 = 8u;       // columns of a lane, a multiple of PACK
const TERMS: u32 = 8u;      // terms that a sum takes between two visits of memory, PACK where packs lie along k
const STORED: u32 = 8u;     // rows that are stored at a time
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 1u;
const TILE: u32 = ROWS * COLS;
const ROW_VECTORS: u32 = (ROWS + LANES - 1u) / LANES;   // a vector has one row in each lane
const COL_PACKS: u32 = COLS / PACK;
const TURNS: u32 = (ROWS + STORED - 1u) / STORED;
const OTHERS: u32 = (ROWS - STORED) * COLS;
const A_VALUES: u32 = TERMS * ROW_VECTORS;
const B_VALUES: u32 = TERMS * COLS;
// A lane reads a at A_LINES places, one for each of its rows where packs lie along k, otherwise one for each PACK of them:
// A_LINE rows a line, A_LOADS loads for all terms. The next value of a pack is of the next term or of the next row, so many
// of `rows` on. The same for b.
const A_LINE: u32 = A_ALONG_K + (1u - A_ALONG_K) * PACK;
const A_LINES: u32 = ROW_VECTORS / A_LINE;
const A_LOADS: u32 = A_LINES * (A_ALONG_K + (1u - A_ALONG_K) * TERMS);
const A_NEXT: u32 = A_ALONG_K * ROW_VECTORS + 1u - A_ALONG_K;
const B_LINE: u32 = B_ALONG_K + (1u - B_ALONG_K) * PACK;
const B_LINES: u32 = COLS / B_LINE;
const B_LOADS: u32 = B_LINES * (B_ALONG_K + (1u - B_ALONG_K) * TERMS);
const B_NEXT: u32 = B_ALONG_K * COLS + 1u - B_ALONG_K;

var<private> acc: array<f32, TILE>;
var<private> sums: array<f32, ROW_VECTORS>;

// The place in a tile of what lies in lane l of vector i, where a lane has a pack at once; the same place of the last pack
// where that lies beyond it.
fn placed(tile: u32, i: u32, l: u32, extent: u32) -> u32 {
    let at = tile + ((i / PACK) * LANES + l) * PACK + i % PACK;
    return min(at, extent - PACK + at % PACK);
}

// The row, of m, that is a tile's rth: it lies in lane r % LANES of row vector r / LANES.
fn row_of(tile: u32, r: u32, m: u32) -> u32 {
    if A_LINE == 1u { return min(tile + r, m - 1u); }
    return placed(tile, r / LANES, r % LANES, m);
}

fn column_of(tile: u32, j: u32, l: u32, n: u32) -> u32 {
    return placed(tile, j, l, n);
}

// How far behind a line's first pack the one is that holds term k, or where packs lie across k, the one of term k + t.
fn past(line: u32, k: u32, t: u32, terms: u32, step: u32) -> u32 {
    if line == 1u { return k / PACK; }
    return min(k + t, terms - 1u) * step;
}

fn accumulate(row: u32, column: u32, lane: u32) {
    let held = params;
    var from_a: array<u32, A_LINES>;
    var from_b: array<u32, B_LINES>;
    // unroll
    for (var i = 0u; i < A_LINES; i++) { from_a[i] = row_of(row, A_LINE * i * LANES + lane, held.m) * held.a_row / PACK; }
    // unroll
    for (var j = 0u; j < B_LINES; j++) { from_b[j] = column_of(column, B_LINE * j, lane, held.n) * held.b_column / PACK; }
    // unroll
    for (var j = 0u; j < COLS; j++) {
        let start = bias_of(column_of(column, j, lane, held.n));
        // unroll
        for (var r = 0u; r < ROWS; r++) { acc[r * COLS + j] = start; }
    }
    let a_step = held.a_k / PACK;
    let b_step = held.b_k / PACK;
    for (var k = 0u; k < held.k; k += TERMS) {
        // Of term t, row vector i at t * ROW_VECTORS + i and column vector j at t * COLS + j. Terms of a beyond k are 0.
        var rows = array<f32, A_VALUES>();
        var columns = array<f32, B_VALUES>();
        // unroll
        for (var s = 0u; s < B_LOADS; s++) {
            const line = s % B_LINES;
            const term = s / B_LINES;
            let pack = b_at(from_b[line] + past(B_LINE, k, term, held.k, b_step));
            // unroll
            for (var e = 0u; e < PACK; e++) {
                columns[term * COLS + line * B_LINE + e * B_NEXT] = pack[e / 4u][e % 4u];
            }
        }
        // unroll
        for (var s = 0u; s < A_LOADS; s++) {
            const line = s % A_LINES;
            const term = s / A_LINES;
            let pack = a_at(from_a[line] + past(A_LINE, k, term, held.k, a_step));
            // unroll
            for (var e = 0u; e < PACK; e++) {
                var v = pack[e / 4u][e % 4u];
                if term > 0u { v = select(0.0, v, k + term < held.k); }
                rows[term * ROW_VECTORS + line * A_LINE + e * A_NEXT] = v;
            }
        }
        // unroll
        for (var i = 0u; i < SUM_ROWS; i++) {
            // unroll
            for (var t = 0u; t < TERMS; t++) { sums[i] += rows[t * ROW_VECTORS + i]; }
        }
        // unroll
        for (var r = 0u; r < ROWS; r++) {
            const first = r * COLS;
            // unroll
            for (var t = 0u; t < TERMS; t++) {
                const of_term = t * COLS;
                let v = subgroupShuffle(rows[t * ROW_VECTORS + r / LANES], r % LANES);
                // unroll
                for (var j = 0u; j < COLS; j++) {
                    acc[first + j] = fma(v, columns[of_term + j], acc[first + j]);
                }
            }
        }
    }
}

// Moves the sums that follow those of the rows just stored to their places, so that a loop stores them all from constant
// indices: compiled once for each, epilogues would take seconds. The last STORED rows stay where they were as well, so that
// they follow themselves: where the last turn has fewer rows left, it stores some of the turn before again.
fn next_rows() {
    // unroll
    for (var s = 0u; s < OTHERS; s++) { acc[s] = acc[s + STORED * COLS]; }
}

// Which of a tile's rows a turn stores as its rth.
fn stored_row(turn: u32, r: u32) -> u32 {
    let next = turn * STORED + r;
    return select(next, next - STORED, next >= ROWS);
}

fn store(row: u32, column: u32, lane: u32) {
    let held = params;
    for (var turn = 0u; turn < TURNS; turn++) {
        // unroll
        for (var j = 0u; j < COL_PACKS; j++) {
            let c = column_of(column, PACK * j, lane, held.n);
            // unroll
            for (var r = 0u; r < STORED; r++) {
                let at = (row_of(row, stored_row(turn, r), held.m) * held.n + c) / PACK;
                var parts = array<vec4<f32>, PARTS>();
                // unroll
                for (var p = 0u; p < PARTS; p++) {
                    const first = r * COLS + PACK * j + 4u * p;
                    parts[p] = vec4(acc[first], acc[first + 1u], acc[first + 2u], acc[first + 3u]);
                }
                put(at, parts);
            }
        }
        next_rows();
    }
}

fn first_row(group: vec3<u32>) -> u32 {
    return select(group.y, group.x, params.rows_first == 1u) * ROWS;
}

fn first_column(group: vec3<u32>) -> u32 {
    return select(group.x, group.y, params.rows_first == 1u) * COLS * LANES;
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = first_row(group);
    let column = first_column(group);
    accumulate(row, column, local.x);
    store(row, column, local.x);
    if SUM_ROWS > 0u && column == 0u { store_column_sums(row, local.x); }
}
