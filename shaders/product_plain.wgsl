// Matrix product with one output an invocation: the yardstick that `bootmae bench` compares the others with.
#include "common/product.wgsl"

@compute @workgroup_size(8, 8)
fn forward(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.y >= params.m || id.x >= params.n { return; }
    var sum = 0.0;
    for (var k = 0u; k < params.k; k++) {
        sum = fma(a[id.y * params.a_row + k * params.a_k], b[k * params.b_k + id.x * params.b_column], sum);
    }
    store(id.y, id.x, sum);
}
