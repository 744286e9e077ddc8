// Matrix product of operands in half precision by matrix units, with sums in f32. A subgroup computes ROWS by COLUMNS
// blocks of SIDE by SIDE, straight from storage; a workgroup has GROUP_M by GROUP_N such tiles. Of how many subgroups a
// workgroup consists is the driver's choice, so they take its tiles in turns. SIDE divides k, and 8 n and what lies side
// by side in a; a block that would reach past the last row or column moves back inside and computes some results again.
// Long sums may be divided among workgroups along z, as in `product_workgroup.wgsl`.
#include "common/product.wgsl"
const ROWS: u32 = 2u;
const COLUMNS: u32 = 2u;
const BLOCKS: u32 = 4u;         // ROWS * COLUMNS
const GROUP_M: u32 = 2u;
const GROUP_N: u32 = 2u;
const THREADS: u32 = 128u;      // GROUP_M * GROUP_N subgroups of the smallest size there is
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 1u;

@group(0) @binding(1) var<storage, read> a: array<f16>;
@group(0) @binding(2) var<storage, read> b: array<f16>;

var<private> acc: array<Sum, BLOCKS>;
// A block of sums of each subgroup, on its way to bias and epilogue: a matrix unit's own blocks keep their places secret.
var<workgroup> block: array<f32, GROUP_M * GROUP_N * SIDE * SIDE>;

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

// Sums begin with what is to be added to them.
fn begin(at: vec2<u32>) {
    // unroll
    for (var i = 0u; i < ROWS; i++) {
        // unroll
        for (var j = 0u; j < COLUMNS; j++) {
            let first = row_of(at.x, i) * params.n + column_of(at.y, j);
            if EPILOGUE == 1u { acc[i * COLUMNS + j] = extra_block(first, params.n); }
            else { acc[i * COLUMNS + j] = Sum(); }
        }
    }
}

fn accumulate(at: vec2<u32>, part: u32) {
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

// Two neighbouring sums with their biases.
fn two_sums(at: u32, column: u32) -> vec2<f32> {
    return vec2(block[at] + bias_of(column), block[at + 1u] + bias_of(column + 1u));
}

// What is stored, and where, has names: naga emits no code for an expression in that place.
@compute @workgroup_size(THREADS)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32,
) {
    let own = subgroup * SIDE * SIDE;
    for (var turn = 0u; turn < GROUP_M * GROUP_N; turn += subgroups) {
        let at = tile_at(group, turn + subgroup);
        begin(at);
        accumulate(at, group.z);
        // unroll
        for (var i = 0u; i < ROWS; i++) {
            // unroll
            for (var j = 0u; j < COLUMNS; j++) {
                let row = row_of(at.x, i);
                let column = column_of(at.y, j);
                let found = acc[i * COLUMNS + j];
                if DIRECT && EPILOGUE < 2u && params.bias_repeat == 0u {
                    store_block(found, (group.z * params.m + row) * params.n + column, params.n);
                } else {
                    coopStoreT(found, &block[own], SIDE);
                    workgroupBarrier();
                    for (var l = lane * 2u; l < SIDE * SIDE; l += lanes * 2u) {
                        let to = (row + l / SIDE) * params.n + column + l % SIDE;
                        let v = two_sums(own + l, column + l % SIDE);
                        var more = vec2(0.0);
                        if EPILOGUE == 3u { more = two_extra(to); }
                        store_two(to, vec2(after(v.x, more.x), after(v.y, more.y)));
                    }
                    workgroupBarrier();
                }
            }
        }
    }
}

@compute @workgroup_size(THREADS)
fn forward_gelu(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32,
) {
    let own = subgroup * SIDE * SIDE;
    for (var turn = 0u; turn < GROUP_M * GROUP_N; turn += subgroups) {
        let at = tile_at(group, turn + subgroup);
        // unroll
        for (var i = 0u; i < BLOCKS; i++) { acc[i] = Sum(); }
        accumulate(at, 0u);
        // unroll
        for (var i = 0u; i < ROWS; i++) {
            // unroll
            for (var j = 0u; j < COLUMNS; j++) {
                let row = row_of(at.x, i);
                let column = column_of(at.y, j);
                let found = acc[i * COLUMNS + j];
                coopStoreT(found, &block[own], SIDE);
                workgroupBarrier();
                for (var l = lane * 2u; l < SIDE * SIDE; l += lanes * 2u) {
                    let to = (row + l / SIDE) * params.n + column + l % SIDE;
                    let v = two_sums(own + l, column + l % SIDE);
                    let first = gelu_and_slope(v.x);
                    let second = gelu_and_slope(v.y);
                    store_two(to, vec2(first.x, second.x));
                    slope_two(to, vec2(first.y, second.y));
                }
                workgroupBarrier();
            }
        }
    }
}
