// What the matmuls by matrix units share: their tiles, and what becomes of sums. A subgroup computes ROWS by COLUMNS blocks
// of SIDE by SIDE, a workgroup has GROUP_M by GROUP_N such tiles. 8 divides n and what lies side by side in a and b.
#include "common/cooperative_matrix_16.wgsl"
#include "common/stored_vec4.wgsl"
#include "common/epilogue_vec4.wgsl"
#include "common/cooperative_matrix_direct.wgsl"
#include "common/matmul.wgsl"
const ROWS: u32 = 2u;
const COLUMNS: u32 = 2u;
const BLOCKS: u32 = ROWS * COLUMNS;
const GROUP_M: u32 = 2u;
const GROUP_N: u32 = 2u;
const LANES: u32 = 32u;         // of the smallest subgroup there is
const THREADS: u32 = GROUP_M * GROUP_N * LANES;
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 1u;

var<private> acc: array<Sum, BLOCKS>;

// Whether a block can be stored as it is, but for a bias of each column.
fn is_direct() -> bool {
    return DIRECT && params.bias_repeat < 2u;
}

// A block's sums with bias and extra.
fn completed(sums: Sum, row: u32, column: u32) -> Sum {
    var found = with_extra(sums, (row * params.n + column) / 4u, params.n / 4u);
    if params.bias_repeat == 1u { found = found + coopLoadT<Sum>(&bias[column], 0u); }
    return found;
}

fn biases_of(column: u32) -> vec4<f32> {
    return vec4(bias_of(column), bias_of(column + 1u), bias_of(column + 2u), bias_of(column + 3u));
}
