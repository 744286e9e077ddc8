// Matmul of operands in half precision by cooperative matrices, with sums in f32: a workgroup copies a slab of TILE_K terms
// of its rows and columns into its shared memory, and its subgroups, which are GROUP_M * GROUP_N, load their blocks from
// there. Eight neighbouring values move at once; those of the next slab are on their way meanwhile. Long sums may be divided
// among workgroups along z, as in `matmul_shared.wgsl`; `part` is a multiple of TILE_K.
#include "common/cooperative_matrix_blocks.wgsl"
const TILE_K: u32 = 32u;
const TURNS: u32 = TILE_K / SIDE;
// Vec4s of a block of sums that an invocation stores.
const STORES: u32 = (SIDE * SIDE / 4u + LANES - 1u) / LANES;
const WHOLE_SLABS: u32 = 0u;    // 1 where TILE_K divides the number of terms
// A slab's lines are rows of a (columns of b) where these lie along k, terms otherwise. Eights of a line, lines, and eights
// that an invocation loads.
const A_ACROSS: u32 = ROWS * SIDE * GROUP_M;
const A_EIGHTS: u32 = (A_ALONG_K * TILE_K + (1u - A_ALONG_K) * A_ACROSS) / 8u;
const A_LINES: u32 = A_ALONG_K * A_ACROSS + (1u - A_ALONG_K) * TILE_K;
const A_LOADS: u32 = (A_EIGHTS * A_LINES + THREADS - 1u) / THREADS;
const B_ACROSS: u32 = COLUMNS * SIDE * GROUP_N;
const B_EIGHTS: u32 = (B_ALONG_K * TILE_K + (1u - B_ALONG_K) * B_ACROSS) / 8u;
const B_LINES: u32 = B_ALONG_K * B_ACROSS + (1u - B_ALONG_K) * TILE_K;
const B_LOADS: u32 = (B_EIGHTS * B_LINES + THREADS - 1u) / THREADS;

// Values of a line, and eight more, so that the lines of a block lie in different banks.
const A_STRIDE: u32 = (A_EIGHTS + 1u) * 8u;
const B_STRIDE: u32 = (B_EIGHTS + 1u) * 8u;
// Whether every invocation loads equally many.
const A_FULL: bool = A_LOADS * THREADS == A_EIGHTS * A_LINES;
const B_FULL: bool = B_LOADS * THREADS == B_EIGHTS * B_LINES;

struct Eight { low: vec4<f16>, high: vec4<f16> }
@group(0) @binding(1) var<storage, read> a: array<Eight>;
@group(0) @binding(2) var<storage, read> b: array<Eight>;

var<workgroup> slab_a: array<vec4<f16>, A_LINES * A_STRIDE / 4u>;
var<workgroup> slab_b: array<vec4<f16>, B_LINES * B_STRIDE / 4u>;
// A block of sums of each subgroup on its way to bias and epilogue: a matrix unit's own blocks keep their places secret.
const BLOCK_VEC4S: u32 = SIDE / 4u;
var<workgroup> staged: array<vec4<f32>, GROUP_M * GROUP_N * SIDE * BLOCK_VEC4S>;
// Where the eights of the first slab lie that an invocation copies.
var<private> from_a: array<u32, A_LOADS>;
var<private> from_b: array<u32, B_LOADS>;

// What it copies of the next slab, on its way meanwhile.
var<private> next_a: array<Eight, A_LOADS>;
var<private> next_b: array<Eight, B_LOADS>;

fn locate(row: u32, column: u32, local: u32) {
    // unroll
    for (var l = 0u; l < A_LOADS; l++) {
        let line = (local + l * THREADS) / A_EIGHTS;
        let eight = (local + l * THREADS) % A_EIGHTS;
        if A_ALONG_K == 1u { from_a[l] = min(row + line, params.m - 1u) * (params.a_row / 8u) + eight; }
        else { from_a[l] = line * (params.a_k / 8u) + min(row / 8u + eight, params.m / 8u - 1u); }
    }
    // unroll
    for (var l = 0u; l < B_LOADS; l++) {
        let line = (local + l * THREADS) / B_EIGHTS;
        let eight = (local + l * THREADS) % B_EIGHTS;
        if B_ALONG_K == 1u { from_b[l] = min(column + line, params.n - 1u) * (params.b_column / 8u) + eight; }
        else { from_b[l] = line * (params.b_k / 8u) + min(column / 8u + eight, params.n / 8u - 1u); }
    }
}

// Past the last term are zeros.
fn load_slab(k: u32, local: u32) {
    let a_step = select(k * (params.a_k / 8u), k / 8u, A_ALONG_K == 1u);
    let b_step = select(k * (params.b_k / 8u), k / 8u, B_ALONG_K == 1u);
    // unroll
    for (var l = 0u; l < A_LOADS; l++) {
        let index = local + l * THREADS;
        next_a[l] = Eight();
        let term = k + select(index / A_EIGHTS, index % A_EIGHTS * 8u, A_ALONG_K == 1u);
        if (A_FULL || index < A_EIGHTS * A_LINES) && (WHOLE_SLABS == 1u || term < params.k) {
            next_a[l] = a[from_a[l] + a_step];
        }
    }
    // unroll
    for (var l = 0u; l < B_LOADS; l++) {
        let index = local + l * THREADS;
        next_b[l] = Eight();
        let term = k + select(index / B_EIGHTS, index % B_EIGHTS * 8u, B_ALONG_K == 1u);
        if (B_FULL || index < B_EIGHTS * B_LINES) && (WHOLE_SLABS == 1u || term < params.k) {
            next_b[l] = b[from_b[l] + b_step];
        }
    }
}

fn store_slab(local: u32) {
    // unroll
    for (var l = 0u; l < A_LOADS; l++) {
        let index = local + l * THREADS;
        if A_FULL || index < A_EIGHTS * A_LINES {
            let to = (index / A_EIGHTS * A_STRIDE + index % A_EIGHTS * 8u) / 4u;
            slab_a[to] = next_a[l].low;
            slab_a[to + 1u] = next_a[l].high;
        }
    }
    // unroll
    for (var l = 0u; l < B_LOADS; l++) {
        let index = local + l * THREADS;
        if B_FULL || index < B_EIGHTS * B_LINES {
            let to = (index / B_EIGHTS * B_STRIDE + index % B_EIGHTS * 8u) / 4u;
            slab_b[to] = next_b[l].low;
            slab_b[to + 1u] = next_b[l].high;
        }
    }
}

fn block_of_a(row: u32, k: u32) -> OfA {
    if A_ALONG_K == 1u { return coopLoadT<OfA>(&slab_a[(row * A_STRIDE + k) / 4u], A_STRIDE / 4u); }
    return coopLoad<OfA>(&slab_a[(k * A_STRIDE + row) / 4u], A_STRIDE / 4u);
}

fn block_of_b(column: u32, k: u32) -> OfB {
    if B_ALONG_K == 1u { return coopLoad<OfB>(&slab_b[(column * B_STRIDE + k) / 4u], B_STRIDE / 4u); }
    return coopLoadT<OfB>(&slab_b[(k * B_STRIDE + column) / 4u], B_STRIDE / 4u);
}

// The first row and column of a subgroup's tile within the workgroup's.
fn tile_at(subgroup: u32) -> vec2<u32> {
    return vec2(subgroup / GROUP_N * ROWS, subgroup % GROUP_N * COLUMNS) * SIDE;
}

fn accumulate(group: vec3<u32>, local: u32, at: vec2<u32>) {
    // unroll
    for (var i = 0u; i < BLOCKS; i++) { acc[i] = Sum(); }
    let first = group.z * params.part;
    let end = min(first + params.part, params.k);
    locate(group.y * GROUP_M * ROWS * SIDE, group.x * GROUP_N * COLUMNS * SIDE, local);
    load_slab(first, local);
    for (var k = first; k < end; k += TILE_K) {
        store_slab(local);
        workgroupBarrier();
        if k + TILE_K < end { load_slab(k + TILE_K, local); }
        // unroll
        for (var turn = 0u; turn < TURNS; turn++) {
            var x = array<OfB, COLUMNS>();
            // unroll
            for (var j = 0u; j < COLUMNS; j++) { x[j] = block_of_b(at.y + j * SIDE, turn * SIDE); }
            // unroll
            for (var i = 0u; i < ROWS; i++) {
                let v = block_of_a(at.x + i * SIDE, turn * SIDE);
                // unroll
                for (var j = 0u; j < COLUMNS; j++) {
                    acc[i * COLUMNS + j] = coopMultiplyAdd(v, x[j], acc[i * COLUMNS + j]);
                }
            }
        }
        workgroupBarrier();
    }
}

// The row and column of the first vec4 that an invocation stores of a block; the others follow LANES / BLOCK_VEC4S rows apart.
fn first_vec4(block: vec2<u32>, lane: u32) -> vec2<u32> {
    return block + vec2(lane / BLOCK_VEC4S, lane % BLOCK_VEC4S * 4u);
}

fn stores(lane: u32, l: u32, row: u32, column: u32) -> bool {
    return lane + l * LANES < SIDE * BLOCK_VEC4S && row < params.m && column < params.n;
}

// What is stored, and where, has names: naga emits no code for an expression in that place. All subgroups store at once, or
// none does, since they meet at barriers. What can be loaded before something is stored is: for all that a compiler knows,
// the one could be the other.
@compute @workgroup_size(THREADS)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32,
) {
    let at = tile_at(subgroup);
    accumulate(group, local, at);
    let first = group.z * (params.m * params.n / 4u);
    let corner = vec2(group.y * GROUP_M * ROWS, group.x * GROUP_N * COLUMNS) * SIDE;
    let end = corner + vec2(GROUP_M * ROWS, GROUP_N * COLUMNS) * SIDE;
    let begin = corner + at;
    if is_direct() && end.x <= params.m && end.y <= params.n {
        if HAS_EXTRA || params.bias_repeat == 1u {
            // unroll
            for (var i = 0u; i < ROWS; i++) {
                // unroll
                for (var j = 0u; j < COLUMNS; j++) {
                    acc[i * COLUMNS + j] = completed(acc[i * COLUMNS + j], begin.x + i * SIDE, begin.y + j * SIDE);
                }
            }
        }
        // unroll
        for (var i = 0u; i < ROWS; i++) {
            // unroll
            for (var j = 0u; j < COLUMNS; j++) {
                let found = acc[i * COLUMNS + j];
                let to = first + ((begin.x + i * SIDE) * params.n + begin.y + j * SIDE) / 4u;
                store_block(found, to, params.n / 4u);
            }
        }
        return;
    }
    let own = subgroup * SIDE * BLOCK_VEC4S;
    // unroll
    for (var j = 0u; j < COLUMNS; j++) {
        let to = first_vec4(begin + vec2(0u, j * SIDE), lane);
        let biases = biases_of(to.y);
        // unroll
        for (var i = 0u; i < ROWS; i++) {
            var e = array<vec4<f32>, STORES>();
            // unroll
            for (var l = 0u; l < STORES; l++) {
                let row = to.x + i * SIDE + l * (LANES / BLOCK_VEC4S);
                if HAS_EXTRA && stores(lane, l, row, to.y) { e[l] = extra_at((row * params.n + to.y) / 4u); }
            }
            let found = acc[i * COLUMNS + j];
            coopStoreT(found, &staged[own], BLOCK_VEC4S);
            workgroupBarrier();
            // unroll
            for (var l = 0u; l < STORES; l++) {
                let row = to.x + i * SIDE + l * (LANES / BLOCK_VEC4S);
                if stores(lane, l, row, to.y) {
                    put(first + (row * params.n + to.y) / 4u, staged[own + lane + l * LANES] + biases, e[l]);
                }
            }
            workgroupBarrier();
        }
    }
}
