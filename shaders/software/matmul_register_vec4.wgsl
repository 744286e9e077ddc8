// Matmul for adapters whose loads are dear and that have no subgroups to share them: a register tile as in
// `matmul_register.wgsl`, but a load brings four values and an accumulator takes four terms at a time. n and k are multiples of 4,
// and so is m where a is stored along it.
#include "common/matmul.wgsl"
#include "common/operands_vec4.wgsl"
#include "common/stored_vec4.wgsl"
#include "common/epilogue_vec4.wgsl"
const TILE_M: u32 = 8u;     // rows of an invocation, a multiple of 4
const TILE_N: u32 = 8u;
const ROW_VEC4S: u32 = TILE_M / 4u;
const COL_VEC4S: u32 = TILE_N / 4u;
const TILE: u32 = TILE_M * TILE_N;
const GROUP_M: u32 = 1u;
const GROUP_N: u32 = 8u;
const A_ALONG_K: u32 = 1u;
const B_ALONG_K: u32 = 1u;

var<private> acc: array<f32, TILE>;

// Terms k to k + 3, a column of the result each row: of a's rows from `row` on, of b's columns from `column` on.
fn block_of_a(row: u32, k: u32) -> mat4x4<f32> {
    if A_ALONG_K == 1u {
        let last = params.m - 1u;
        return mat4x4(
            a_at((min(row, last) * params.a_row + k) / 4u), a_at((min(row + 1u, last) * params.a_row + k) / 4u),
            a_at((min(row + 2u, last) * params.a_row + k) / 4u), a_at((min(row + 3u, last) * params.a_row + k) / 4u),
        );
    }
    let at = (min(row, params.m - 4u) + k * params.a_k) / 4u;
    let step = params.a_k / 4u;
    return transpose(mat4x4(a_at(at), a_at(at + step), a_at(at + 2u * step), a_at(at + 3u * step)));
}

fn block_of_b(column: u32, k: u32) -> mat4x4<f32> {
    if B_ALONG_K == 1u {
        let last = params.n - 1u;
        return mat4x4(
            b_at((min(column, last) * params.b_column + k) / 4u), b_at((min(column + 1u, last) * params.b_column + k) / 4u),
            b_at((min(column + 2u, last) * params.b_column + k) / 4u), b_at((min(column + 3u, last) * params.b_column + k) / 4u),
        );
    }
    let at = (min(column, params.n - 4u) + k * params.b_k) / 4u;
    let step = params.b_k / 4u;
    return transpose(mat4x4(b_at(at), b_at(at + step), b_at(at + 2u * step), b_at(at + 3u * step)));
}

// Column of vec4 j of an invocation's tile.
fn column_of(group: u32, local: u32, j: u32) -> u32 {
    return (group * GROUP_N * COL_VEC4S + j * GROUP_N + local) * 4u;
}

fn accumulate(row: u32, group: u32, local: u32) {
    // unroll
    for (var j = 0u; j < TILE_N; j++) {
        let start = bias_of(column_of(group, local, j / 4u) + j % 4u);
        // unroll
        for (var i = 0u; i < TILE_M; i++) { acc[i * TILE_N + j] = start; }
    }
    for (var k = 0u; k < params.k; k += 4u) {
        var x = array<vec4<f32>, TILE_N>();
        // unroll
        for (var j = 0u; j < COL_VEC4S; j++) {
            let block = block_of_b(column_of(group, local, j), k);
            // unroll
            for (var l = 0u; l < 4u; l++) { x[j * 4u + l] = block[l]; }
        }
        // unroll
        for (var q = 0u; q < ROW_VEC4S; q++) {
            let block = block_of_a(row + q * 4u, k);
            // unroll
            for (var i = 0u; i < 4u; i++) {
                let v = block[i];
                // unroll
                for (var j = 0u; j < TILE_N; j++) {
                    let at = (q * 4u + i) * TILE_N + j;
                    acc[at] += dot(v, x[j]);
                }
            }
        }
    }
}

@compute @workgroup_size(GROUP_N, GROUP_M)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = (group.y * GROUP_M + local.y) * TILE_M;
    accumulate(row, group.x, local.x);
    // unroll
    for (var i = 0u; i < TILE_M; i++) {
        // unroll
        for (var j = 0u; j < COL_VEC4S; j++) {
            let column = column_of(group.x, local.x, j);
            if row + i < params.m && column < params.n {
                let at = ((row + i) * params.n + column) / 4u;
                let first = i * TILE_N + j * 4u;
                put(at, vec4(acc[first], acc[first + 1u], acc[first + 2u], acc[first + 3u]), extra_at(at));
            }
        }
    }
}
