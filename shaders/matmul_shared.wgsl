// Matmul through shared memory, for GPUs: a workgroup copies a slab of TILE_K terms of its rows and columns into its shared memory, and
// each invocation computes TILE_M rows by TILE_N columns from there. Values move four by four: m (or k) where a is stored
// along it, k (or n) likewise for b, and n are multiples of 4. While a slab is used, the next one is on its way. A long
// sum may be divided among workgroups along z (split-K), each of which stores a result of its own: y is [parts, m, n] then, without
// bias and epilogue, and `part` is a multiple of TILE_K.
#include "common/matmul.wgsl"
#include "common/operands_vec4.wgsl"
#include "common/stored_vec4.wgsl"
#include "common/epilogue_vec4.wgsl"
const TILE_M: u32 = 8u;
const TILE_N: u32 = 8u;
const ROW_VEC4S: u32 = TILE_M / 4u;
const COL_VEC4S: u32 = TILE_N / 4u;
const TILE: u32 = TILE_M * COL_VEC4S;
const GROUP_M: u32 = 8u;
const GROUP_N: u32 = 8u;
const TILE_K: u32 = 16u;
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 1u;
const WHOLE_SLABS: u32 = 0u; // 1 where TILE_K divides the number of terms

// In vec4s, as everything below. One more than there are, so that what neighbours store falls into different banks.
const A_STRIDE: u32 = GROUP_M * ROW_VEC4S + 1u;
const B_STRIDE: u32 = GROUP_N * COL_VEC4S + 1u;
const A_BLOCKS: u32 = GROUP_M * ROW_VEC4S * TILE_K / 4u;
const B_BLOCKS: u32 = GROUP_N * COL_VEC4S * TILE_K / 4u;
// Blocks of 4x4 values that an invocation loads, and whether all load equally many.
const THREADS: u32 = GROUP_M * GROUP_N;
const A_LOADS: u32 = (A_BLOCKS + THREADS - 1u) / THREADS;
const B_LOADS: u32 = (B_BLOCKS + THREADS - 1u) / THREADS;
const A_FULL: bool = A_LOADS * THREADS == A_BLOCKS;
const B_FULL: bool = B_LOADS * THREADS == B_BLOCKS;

// Term k of vec4 i of the workgroup's rows is at k * A_STRIDE + i; b's columns likewise.
var<workgroup> slab_a: array<vec4<f32>, TILE_K * A_STRIDE>;
var<workgroup> slab_b: array<vec4<f32>, TILE_K * B_STRIDE>;
var<private> from_a: array<u32, A_LOADS * 4u>;
var<private> from_b: array<u32, B_LOADS * 4u>;
var<private> next_a: array<vec4<f32>, A_LOADS * 4u>;
var<private> next_b: array<vec4<f32>, B_LOADS * 4u>;
var<private> acc: array<vec4<f32>, TILE>;

// Where a block lies: its vec4 of rows (or columns) and its vec4 of terms. Neighbouring invocations take what is stored
// side by side.
fn place(block: u32, along_k: u32, vec4s: u32) -> vec2<u32> {
    if along_k == 1u { return vec2(block / (TILE_K / 4u), block % (TILE_K / 4u)); }
    return vec2(block % vec4s, block / vec4s);
}

// Where the blocks of the first slab lie, and how far it is from there to the next term.
fn locate(row: u32, column: u32, local: u32) {
    // unroll
    for (var l = 0u; l < A_LOADS; l++) {
        let at = place(local + l * THREADS, A_ALONG_K, GROUP_M * ROW_VEC4S);
        // unroll
        for (var i = 0u; i < 4u; i++) {
            if A_ALONG_K == 1u {
                from_a[l * 4u + i] = min(row + at.x * 4u + i, params.m - 1u) * (params.a_row / 4u) + at.y;
            } else {
                let first = min(row / 4u + at.x, params.m / 4u - 1u);
                from_a[l * 4u + i] = (at.y * 4u + i) * (params.a_k / 4u) + first;
            }
        }
    }
    // unroll
    for (var l = 0u; l < B_LOADS; l++) {
        let at = place(local + l * THREADS, B_ALONG_K, GROUP_N * COL_VEC4S);
        // unroll
        for (var i = 0u; i < 4u; i++) {
            if B_ALONG_K == 1u {
                from_b[l * 4u + i] = min(column + at.x * 4u + i, params.n - 1u) * (params.b_column / 4u) + at.y;
            } else {
                let first = min(column / 4u + at.x, params.n / 4u - 1u);
                from_b[l * 4u + i] = (at.y * 4u + i) * (params.b_k / 4u) + first;
            }
        }
    }
}

// Whether the sum has term i of a block of the slab that begins at term k.
fn is_term(k: u32, at: vec2<u32>, along_k: u32, i: u32) -> bool {
    return WHOLE_SLABS == 1u || k + at.y * 4u + (1u - along_k) * i < params.k;
}

fn fetch(k: u32, local: u32) {
    let a_step = select(k * (params.a_k / 4u), k / 4u, A_ALONG_K == 1u);
    let b_step = select(k * (params.b_k / 4u), k / 4u, B_ALONG_K == 1u);
    // unroll
    for (var l = 0u; l < A_LOADS; l++) {
        let block = local + l * THREADS;
        let at = place(block, A_ALONG_K, GROUP_M * ROW_VEC4S);
        // unroll
        for (var i = 0u; i < 4u; i++) {
            var v = vec4(0.0);
            if (A_FULL || block < A_BLOCKS) && is_term(k, at, A_ALONG_K, i) { v = a_at(from_a[l * 4u + i] + a_step); }
            next_a[l * 4u + i] = v;
        }
    }
    // unroll
    for (var l = 0u; l < B_LOADS; l++) {
        let block = local + l * THREADS;
        let at = place(block, B_ALONG_K, GROUP_N * COL_VEC4S);
        // unroll
        for (var i = 0u; i < 4u; i++) {
            var v = vec4(0.0);
            if (B_FULL || block < B_BLOCKS) && is_term(k, at, B_ALONG_K, i) { v = b_at(from_b[l * 4u + i] + b_step); }
            next_b[l * 4u + i] = v;
        }
    }
}

// Component i of four vectors.
fn across(p: vec4<f32>, q: vec4<f32>, r: vec4<f32>, s: vec4<f32>, i: u32) -> vec4<f32> {
    return vec4(p[i], q[i], r[i], s[i]);
}

fn stash(local: u32) {
    // unroll
    for (var l = 0u; l < A_LOADS; l++) {
        let block = local + l * THREADS;
        let at = place(block, A_ALONG_K, GROUP_M * ROW_VEC4S);
        let to = at.y * 4u * A_STRIDE + at.x;
        if A_FULL || block < A_BLOCKS {
            // unroll
            for (var i = 0u; i < 4u; i++) {
                var v = next_a[l * 4u + i];
                if A_ALONG_K == 1u {
                    v = across(next_a[l * 4u], next_a[l * 4u + 1u], next_a[l * 4u + 2u], next_a[l * 4u + 3u], i);
                }
                slab_a[to + i * A_STRIDE] = v;
            }
        }
    }
    // unroll
    for (var l = 0u; l < B_LOADS; l++) {
        let block = local + l * THREADS;
        let at = place(block, B_ALONG_K, GROUP_N * COL_VEC4S);
        let to = at.y * 4u * B_STRIDE + at.x;
        if B_FULL || block < B_BLOCKS {
            // unroll
            for (var i = 0u; i < 4u; i++) {
                var v = next_b[l * 4u + i];
                if B_ALONG_K == 1u {
                    v = across(next_b[l * 4u], next_b[l * 4u + 1u], next_b[l * 4u + 2u], next_b[l * 4u + 3u], i);
                }
                slab_b[to + i * B_STRIDE] = v;
            }
        }
    }
}

fn accumulate(row: u32, column: u32, part: u32, local: vec2<u32>) {
    let index = local.y * GROUP_N + local.x;
    let first = part * params.part;
    let end = min(first + params.part, params.k);
    // unroll
    for (var j = 0u; j < COL_VEC4S; j++) {
        let c = column + (j * GROUP_N + local.x) * 4u;
        let start = vec4(bias_of(c), bias_of(c + 1u), bias_of(c + 2u), bias_of(c + 3u));
        // unroll
        for (var i = 0u; i < TILE_M; i++) { acc[i * COL_VEC4S + j] = start; }
    }
    locate(row, column, index);
    fetch(first, index);
    for (var k = first; k < end; k += TILE_K) {
        stash(index);
        workgroupBarrier();
        if k + TILE_K < end { fetch(k + TILE_K, index); }
        // unroll
        for (var term = 0u; term < TILE_K; term++) {
            var x = array<vec4<f32>, COL_VEC4S>();
            // unroll
            for (var j = 0u; j < COL_VEC4S; j++) { x[j] = slab_b[term * B_STRIDE + j * GROUP_N + local.x]; }
            // unroll
            for (var q = 0u; q < ROW_VEC4S; q++) {
                let v = slab_a[term * A_STRIDE + q * GROUP_M + local.y];
                // unroll
                for (var i = 0u; i < 4u; i++) {
                    // unroll
                    for (var j = 0u; j < COL_VEC4S; j++) {
                        acc[(q * 4u + i) * COL_VEC4S + j] = fma(vec4(v[i]), x[j], acc[(q * 4u + i) * COL_VEC4S + j]);
                    }
                }
            }
        }
        workgroupBarrier();
    }
}

// Where vec4 j of row i of an invocation's tile is stored, in vec4s; past the end where there is none.
fn target_of(row: u32, column: u32, local: vec2<u32>, i: u32, j: u32) -> u32 {
    let r = row + ((i / 4u) * GROUP_M + local.y) * 4u + i % 4u;
    let c = column + (j * GROUP_N + local.x) * 4u;
    if r < params.m && c < params.n { return (r * params.n + c) / 4u; }
    return params.m * params.n / 4u;
}

@compute @workgroup_size(GROUP_N, GROUP_M)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = group.y * GROUP_M * TILE_M;
    let column = group.x * GROUP_N * COL_VEC4S * 4u;
    accumulate(row, column, group.z, local.xy);
    // unroll
    for (var i = 0u; i < TILE_M; i++) {
        // unroll
        for (var j = 0u; j < COL_VEC4S; j++) {
            let at = target_of(row, column, local.xy, i, j);
            if at < params.m * params.n / 4u {
                put(group.z * (params.m * params.n / 4u) + at, acc[i * COL_VEC4S + j], extra_at(at));
            }
        }
    }
}
