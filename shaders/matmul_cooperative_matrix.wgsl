// Matmul of operands in half precision by cooperative matrices, with sums in f32, straight from storage. Of how many
// subgroups a workgroup consists is the driver's choice, so they take its tiles in turns. SIDE divides k; a block that would
// reach past the last row or column moves back inside and computes some results again. Long sums may be divided among
// workgroups along z, as in `matmul_shared.wgsl`.
#include "common/cooperative_matrix_blocks.wgsl"
@group(0) @binding(1) var<storage, read> a: array<f16>;
@group(0) @binding(2) var<storage, read> b: array<f16>;

// A block of sums of each subgroup, on its way to bias and epilogue: a matrix unit's own blocks keep their places secret.
// Its rows are apart, so that what neighbours load falls into different banks.
const BLOCK_STRIDE: u32 = SIDE / 4u + 1u;
var<workgroup> block: array<vec4<f32>, GROUP_M * GROUP_N * SIDE * BLOCK_STRIDE>;

// Stores a whole block with bias and extra; `first` is where its results begin.
fn store_at_once(sums: Sum, first: u32, row: u32, column: u32) {
    let to = first + (row * params.n + column) / 4u;
    let complete = completed(sums, row, column);
    store_block(complete, to, params.n / 4u);
}

// Stores the rows and columns that there are of the subgroup's block in shared memory, with bias and epilogue.
fn store_piecewise(own: u32, lane: u32, lanes: u32, first: u32, row: u32, column: u32) {
    for (var l = lane; l < SIDE * SIDE / 4u; l += lanes) {
        let r = row + l / (SIDE / 4u);
        let c = column + l % (SIDE / 4u) * 4u;
        if r < params.m && c < params.n {
            let at = (r * params.n + c) / 4u;
            let v = block[own + l / (SIDE / 4u) * BLOCK_STRIDE + l % (SIDE / 4u)] + biases_of(c);
            put(first + at, v, extra_at(at));
        }
    }
}

fn row_of(row: u32, i: u32) -> u32 { return min(row + i * SIDE, params.m - SIDE); }
fn column_of(column: u32, j: u32) -> u32 { return min(column + j * SIDE, params.n - SIDE); }

fn block_of_a(row: u32, k: u32) -> OfA {
    if A_ALONG_K == 1u { return coopLoadT<OfA>(&a[row * params.a_row + k], params.a_row); }
    return coopLoad<OfA>(&a[k * params.a_k + row], params.a_k);
}

fn block_of_b(column: u32, k: u32) -> OfB {
    if B_ALONG_K == 1u { return coopLoad<OfB>(&b[column * params.b_column + k], params.b_column); }
    return coopLoadT<OfB>(&b[k * params.b_k + column], params.b_k);
}

// The first row and column of a workgroup's tile.
fn tile_at(group: vec3<u32>, index: u32) -> vec2<u32> {
    let tile = min(index, GROUP_M * GROUP_N - 1u);
    let row = (group.y * GROUP_M + tile / GROUP_N) * ROWS * SIDE;
    return vec2(row, (group.x * GROUP_N + tile % GROUP_N) * COLUMNS * SIDE);
}

fn accumulate(at: vec2<u32>, part: u32) {
    // unroll
    for (var i = 0u; i < BLOCKS; i++) { acc[i] = Sum(); }
    let end = min((part + 1u) * params.part, params.k);
    for (var k = part * params.part; k < end; k += SIDE) {
        var x = array<OfB, COLUMNS>();
        // unroll
        for (var j = 0u; j < COLUMNS; j++) { x[j] = block_of_b(column_of(at.y, j), k); }
        // unroll
        for (var i = 0u; i < ROWS; i++) {
            let v = block_of_a(row_of(at.x, i), k);
            // unroll
            for (var j = 0u; j < COLUMNS; j++) {
                acc[i * COLUMNS + j] = coopMultiplyAdd(v, x[j], acc[i * COLUMNS + j]);
            }
        }
    }
}

// What is stored, and where, has names: naga emits no code for an expression in that place.
@compute @workgroup_size(THREADS)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32,
) {
    let own = subgroup * SIDE * BLOCK_STRIDE;
    let first = group.z * (params.m * params.n / 4u);
    for (var turn = 0u; turn < GROUP_M * GROUP_N; turn += subgroups) {
        let at = tile_at(group, turn + subgroup);
        accumulate(at, group.z);
        // unroll
        for (var i = 0u; i < ROWS; i++) {
            // unroll
            for (var j = 0u; j < COLUMNS; j++) {
                let row = row_of(at.x, i);
                let column = column_of(at.y, j);
                let found = acc[i * COLUMNS + j];
                if is_direct() {
                    store_at_once(found, first, row, column);
                } else {
                    coopStoreT(found, &block[own], BLOCK_STRIDE);
                    workgroupBarrier();
                    store_piecewise(own, lane, lanes, first, row, column);
                    workgroupBarrier();
                }
            }
        }
    }
}
