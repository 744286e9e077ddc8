// Matmul for adapters whose loads are dear and whose subgroups are narrow (software rasterizers): one subgroup
// a workgroup. Each lane loads one row's value and hands it to the others, so that no value of a tile is loaded twice.
// A shuffle with a constant lane is one instruction on llvmpipe.
#include "common/matmul.wgsl"
#include "common/operands_scalar.wgsl"
#include "common/epilogue_scalar.wgsl"
const LANES: u32 = 8u;
const LANE_M: u32 = 4u;     // rows a lane loads; the tile has LANES * LANE_M
const LANE_N: u32 = 4u;
const TILE: u32 = LANES * LANE_M * LANE_N;

var<private> acc: array<f32, TILE>;

fn accumulate(row: u32, column: u32, lane: u32) {
    var from_a: array<u32, LANE_M>;
    var from_b: array<u32, LANE_N>;
    // unroll
    for (var i = 0u; i < LANE_M; i++) { from_a[i] = min(row + i * LANES + lane, params.m - 1u) * params.a_row; }
    // unroll
    for (var j = 0u; j < LANE_N; j++) {
        from_b[j] = min(column + j * LANES, params.n - 1u) * params.b_column;
        let start = bias_of(column + j * LANES);
        // unroll
        for (var i = 0u; i < LANE_M; i++) {
            // unroll
            for (var l = 0u; l < LANES; l++) { acc[(i * LANES + l) * LANE_N + j] = start; }
        }
    }
    for (var k = 0u; k < params.k; k++) {
        var x = array<f32, LANE_N>();
        let to_a = k * params.a_k;
        let to_b = k * params.b_k;
        // unroll
        for (var j = 0u; j < LANE_N; j++) { x[j] = b_at(from_b[j] + to_b); }
        // unroll
        for (var i = 0u; i < LANE_M; i++) {
            let own = a_at(from_a[i] + to_a);
            // unroll
            for (var l = 0u; l < LANES; l++) {
                let v = subgroupShuffle(own, l);
                // unroll
                for (var j = 0u; j < LANE_N; j++) {
                    acc[(i * LANES + l) * LANE_N + j] = fma(v, x[j], acc[(i * LANES + l) * LANE_N + j]);
                }
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = group.y * LANE_M * LANES;
    let column = group.x * LANES * LANE_N + local.x;
    accumulate(row, column, local.x);
    // unroll
    for (var i = 0u; i < LANE_M; i++) {
        // unroll
        for (var l = 0u; l < LANES; l++) {
            // unroll
            for (var j = 0u; j < LANE_N; j++) {
                store(row + i * LANES + l, column + j * LANES, acc[(i * LANES + l) * LANE_N + j]);
            }
        }
    }
}
