// What the products by matrix units share: from blocks of sums to what is stored. A subgroup computes ROWS by COLUMNS blocks
// of SIDE by SIDE, a workgroup has GROUP_M by GROUP_N such tiles. 8 divides n and what lies side by side in a and b.
#include "common/product.wgsl"
const ROWS: u32 = 2u;
const COLUMNS: u32 = 2u;
const BLOCKS: u32 = 4u;         // ROWS * COLUMNS
const GROUP_M: u32 = 2u;
const GROUP_N: u32 = 2u;
const THREADS: u32 = 128u;      // GROUP_M * GROUP_N subgroups of the smallest size there is
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 1u;

var<private> acc: array<Sum, BLOCKS>;
// A block of sums of each subgroup, on its way to bias and epilogue: a matrix unit's own blocks keep their places secret.
// Its rows are apart, so that what neighbours load falls into different banks.
const BLOCK_STRIDE: u32 = SIDE + 4u;
var<workgroup> block: array<f32, GROUP_M * GROUP_N * SIDE * BLOCK_STRIDE>;

// Four neighbouring sums with their biases.
fn four_sums(at: u32, column: u32) -> vec4<f32> {
    let biases = vec4(bias_of(column), bias_of(column + 1u), bias_of(column + 2u), bias_of(column + 3u));
    return vec4(block[at], block[at + 1u], block[at + 2u], block[at + 3u]) + biases;
}

// Whether a block can be stored as it is, but for a bias of each column.
fn is_direct() -> bool {
    return DIRECT && params.bias_repeat < 2u;
}

// Stores a whole block with bias and extra; `first` is where its results begin.
fn store_at_once(sums: Sum, first: u32, row: u32, column: u32) {
    let at = (row * params.n + column) / 4u;
    let to = first + at;
    let stride = params.n / 4u;
    var found = with_extra(sums, at, stride);
    if params.bias_repeat == 1u { found = found + coopLoadT<Sum>(&bias[column], 0u); }
    let complete = found;
    store_block(complete, to, stride);
}

// Stores the rows and columns that there are of the subgroup's block in shared memory, with bias and epilogue.
fn store_piecewise(own: u32, lane: u32, lanes: u32, first: u32, row: u32, column: u32) {
    for (var l = lane * 4u; l < SIDE * SIDE; l += lanes * 4u) {
        let r = row + l / SIDE;
        let c = column + l % SIDE;
        if r < params.m && c < params.n {
            let at = (r * params.n + c) / 4u;
            let v = four_sums(own + (l / SIDE) * BLOCK_STRIDE + l % SIDE, c);
            var e = vec4(0.0);
            if HAS_EXTRA { e = loaded(extra[at]); }
            y[first + at] = stored(vec4(after(v.x, e.x), after(v.y, e.y), after(v.z, e.z), after(v.w, e.w)));
        }
    }
}

// The same through GELU, whose slope is stored too.
fn store_with_gelu(own: u32, lane: u32, lanes: u32, row: u32, column: u32) {
    for (var l = lane * 4u; l < SIDE * SIDE; l += lanes * 4u) {
        let r = row + l / SIDE;
        let c = column + l % SIDE;
        if r < params.m && c < params.n {
            let at = (r * params.n + c) / 4u;
            let both = activated(four_sums(own + (l / SIDE) * BLOCK_STRIDE + l % SIDE, c));
            y[at] = stored(both.y);
            slopes[at] = stored(both.slope);
        }
    }
}
