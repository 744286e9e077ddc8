// Matrix product for software rasterizers with 64-bit integers: as `product_subgroup.wgsl`, but every load fetches two
// neighbouring values at once. On llvmpipe a load costs the same whatever its width: it inserts one lane after another
// into a vector in memory, and each insertion waits for the one before.
//
// Pairs lie along k where a (or b) is stored so, otherwise along m (or n). Columns always lie in a lane two by two, so
// that results are stored as pairs. n is even, and so is k (or m) where pairs of a lie along it, and k where pairs of b do.
#include "common/product.wgsl"
const LANES: u32 = 8u;
const ROWS: u32 = 8u;       // row vectors of a tile; a vector has one row in each lane
const COLS: u32 = 4u;       // column vectors, an even number
const ROW_LOADS: u32 = 8u;  // ROWS, or half of it where pairs of a lie along m
const COL_LOADS: u32 = 4u;  // COLS, or half of it where pairs of b lie along n
const COL_PAIRS: u32 = 2u;  // COLS / 2
const TILE: u32 = 256u;     // LANES * ROWS * COLS
const TERMS: u32 = 2u;      // terms that a sum takes between two visits of memory, an even number
const TERM_PAIRS: u32 = 1u; // TERMS / 2
const A_VALUES: u32 = 16u;  // TERMS * ROWS
const B_VALUES: u32 = 8u;   // TERMS * COLS
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 1u;

@group(0) @binding(4) var<storage, read> extra: array<Two>;
@group(0) @binding(5) var<storage, read_write> y: array<StoredTwo>;
@group(0) @binding(6) var<storage, read_write> activated: array<StoredTwo>;

var<private> acc: array<f32, TILE>;

// Which row of the tile lies in lane l of row vector i.
fn row_of(i: u32, l: u32) -> u32 {
    if A_ALONG_K == 1u { return i * LANES + l; }
    return ((i / 2u) * LANES + l) * 2u + (i & 1u);
}

fn column_of(j: u32, l: u32) -> u32 {
    return ((j / 2u) * LANES + l) * 2u + (j & 1u);
}

fn accumulate(row: u32, column: u32, lane: u32) {
    var from_a: array<u32, ROW_LOADS>;
    var from_b: array<u32, COL_LOADS>;
    // unroll
    for (var i = 0u; i < ROW_LOADS; i++) {
        if A_ALONG_K == 1u { from_a[i] = min(row + i * LANES + lane, params.m - 1u) * (params.a_row / 2u); }
        else { from_a[i] = min(row / 2u + i * LANES + lane, params.m / 2u - 1u); }
    }
    // unroll
    for (var j = 0u; j < COL_LOADS; j++) {
        if B_ALONG_K == 1u { from_b[j] = min(column + column_of(j, lane), params.n - 1u) * (params.b_column / 2u); }
        else { from_b[j] = min(column / 2u + j * LANES + lane, params.n / 2u - 1u); }
    }
    // unroll
    for (var j = 0u; j < COLS; j++) {
        let start = bias_of(column + column_of(j, lane));
        // unroll
        for (var i = 0u; i < ROWS; i++) {
            // unroll
            for (var l = 0u; l < LANES; l++) { acc[(i * LANES + l) * COLS + j] = start; }
        }
    }
    for (var k = 0u; k < params.k; k += TERMS) {
        // Of term t, row vector i at t * ROWS + i and column vector j at t * COLS + j. Terms beyond k are 0.
        var rows = array<f32, A_VALUES>();
        var columns = array<f32, B_VALUES>();
        // unroll
        for (var t = 0u; t < TERM_PAIRS; t++) {
            let first = min(k + 2u * t, params.k - 1u);
            let second = min(k + 2u * t + 1u, params.k - 1u);
            // unroll
            for (var j = 0u; j < COL_LOADS; j++) {
                if B_ALONG_K == 1u {
                    let v = b_at(from_b[j] + first / 2u);
                    columns[2u * t * COLS + j] = v.x;
                    columns[(2u * t + 1u) * COLS + j] = v.y;
                } else {
                    let v = b_at(from_b[j] + first * (params.b_k / 2u));
                    let w = b_at(from_b[j] + second * (params.b_k / 2u));
                    columns[2u * t * COLS + (2u * j) % COLS] = v.x;
                    columns[2u * t * COLS + (2u * j + 1u) % COLS] = v.y;
                    columns[(2u * t + 1u) * COLS + (2u * j) % COLS] = w.x;
                    columns[(2u * t + 1u) * COLS + (2u * j + 1u) % COLS] = w.y;
                }
            }
            // unroll
            for (var i = 0u; i < ROW_LOADS; i++) {
                if A_ALONG_K == 1u {
                    let v = a_at(from_a[i] + first / 2u);
                    rows[2u * t * ROWS + i] = select(0.0, v.x, k + 2u * t < params.k);
                    rows[(2u * t + 1u) * ROWS + i] = select(0.0, v.y, k + 2u * t < params.k);
                } else {
                    let v = a_at(from_a[i] + first * (params.a_k / 2u));
                    let w = a_at(from_a[i] + second * (params.a_k / 2u));
                    rows[2u * t * ROWS + (2u * i) % ROWS] = select(0.0, v.x, k + 2u * t < params.k);
                    rows[2u * t * ROWS + (2u * i + 1u) % ROWS] = select(0.0, v.y, k + 2u * t < params.k);
                    rows[(2u * t + 1u) * ROWS + (2u * i) % ROWS] = select(0.0, w.x, k + 2u * t + 1u < params.k);
                    rows[(2u * t + 1u) * ROWS + (2u * i + 1u) % ROWS] = select(0.0, w.y, k + 2u * t + 1u < params.k);
                }
            }
        }
        // unroll
        for (var i = 0u; i < ROWS; i++) {
            // unroll
            for (var l = 0u; l < LANES; l++) {
                const first = (i * LANES + l) * COLS;
                // unroll
                for (var t = 0u; t < TERMS; t++) {
                    const of_term = t * COLS;
                    let v = subgroupShuffle(rows[t * ROWS + i], l);
                    // unroll
                    for (var j = 0u; j < COLS; j++) {
                        acc[first + j] = fma(v, columns[of_term + j], acc[first + j]);
                    }
                }
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = group.y * ROWS * LANES;
    let column = group.x * COLS * LANES;
    accumulate(row, column, local.x);
    // unroll
    for (var j = 0u; j < COL_PAIRS; j++) {
        let c = column + column_of(2u * j, local.x);
        // unroll
        for (var i = 0u; i < ROWS; i++) {
            // unroll
            for (var l = 0u; l < LANES; l++) {
                const first = (i * LANES + l) * COLS + 2u * j;
                let r = row + row_of(i, l);
                if r < params.m && c < params.n {
                    let at = (r * params.n + c) / 2u;
                    var more = vec2(0.0);
                    if HAS_EXTRA { more = vec2(low(extra[at]), high(extra[at])); }
                    y[at] = stored(vec2(after(acc[first], more.x), after(acc[first + 1u], more.y)));
                }
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn forward_gelu(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = group.y * ROWS * LANES;
    let column = group.x * COLS * LANES;
    accumulate(row, column, local.x);
    // unroll
    for (var j = 0u; j < COL_PAIRS; j++) {
        let c = column + column_of(2u * j, local.x);
        // unroll
        for (var i = 0u; i < ROWS; i++) {
            // unroll
            for (var l = 0u; l < LANES; l++) {
                const first = (i * LANES + l) * COLS + 2u * j;
                let r = row + row_of(i, l);
                if r < params.m && c < params.n {
                    let at = (r * params.n + c) / 2u;
                    y[at] = stored(vec2(acc[first], acc[first + 1u]));
                    activated[at] = stored(vec2(gelu(acc[first]), gelu(acc[first + 1u])));
                }
            }
        }
    }
}
