// Matmul within WebGPU's default limits: TILE_M rows and TILE_N columns an invocation, accumulated in registers
// straight from storage; columns of neighbouring invocations interleave. The reference for the faster variants.
#include "common/matmul.wgsl"
#include "common/operands_scalar.wgsl"
#include "common/epilogue_scalar.wgsl"
const TILE_M: u32 = 8u;
const TILE_N: u32 = 8u;
const TILE: u32 = TILE_M * TILE_N;
const GROUP_M: u32 = 1u;
const GROUP_N: u32 = 8u;

var<private> acc: array<f32, TILE>;

fn accumulate(row: u32, column: u32) {
    var from_a: array<u32, TILE_M>;
    var from_b: array<u32, TILE_N>;
    // unroll
    for (var i = 0u; i < TILE_M; i++) { from_a[i] = min(row + i, params.m - 1u) * params.a_row; }
    // unroll
    for (var j = 0u; j < TILE_N; j++) {
        from_b[j] = min(column + j * GROUP_N, params.n - 1u) * params.b_column;
        let start = bias_of(column + j * GROUP_N);
        // unroll
        for (var i = 0u; i < TILE_M; i++) { acc[i * TILE_N + j] = start; }
    }
    for (var k = 0u; k < params.k; k++) {
        var x = array<f32, TILE_N>();
        let to_a = k * params.a_k;
        let to_b = k * params.b_k;
        // unroll
        for (var j = 0u; j < TILE_N; j++) { x[j] = b_at(from_b[j] + to_b); }
        // unroll
        for (var i = 0u; i < TILE_M; i++) {
            let v = a_at(from_a[i] + to_a);
            // unroll
            for (var j = 0u; j < TILE_N; j++) { acc[i * TILE_N + j] = fma(v, x[j], acc[i * TILE_N + j]); }
        }
    }
}

@compute @workgroup_size(GROUP_N, GROUP_M)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = (group.y * GROUP_M + local.y) * TILE_M;
    let column = group.x * GROUP_N * TILE_N + local.x;
    accumulate(row, column);
    // unroll
    for (var i = 0u; i < TILE_M; i++) {
        // unroll
        for (var j = 0u; j < TILE_N; j++) { store(row + i, column + j * GROUP_N, acc[i * TILE_N + j]); }
    }
}
