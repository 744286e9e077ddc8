// Matmul with one output an invocation: the yardstick that `bootmae bench` compares the others with.
#include "common/matmul.wgsl"
#include "common/operands_scalar.wgsl"
#include "common/epilogue_scalar.wgsl"

fn sum(row: u32, column: u32) -> f32 {
    var total = bias_of(column);
    for (var k = 0u; k < params.k; k++) {
        total = fma(a_at(row * params.a_row + k * params.a_k), b_at(k * params.b_k + column * params.b_column), total);
    }
    return total;
}

@compute @workgroup_size(8, 8)
fn forward(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.y >= params.m || id.x >= params.n { return; }
    store(id.y, id.x, sum(id.y, id.x));
}
