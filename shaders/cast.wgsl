// f32 values in half precision, four an invocation.
//   x  [len] f32
//   y  [len] f16
#include "common/grid.wgsl"
#include "common/vec4s.wgsl"
#include "common/half.wgsl"
struct Params { len: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u32>>;

@compute @workgroup_size(64)
fn to_half(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    if i * 4u < params.len { y[i] = to_halves(up_to(x[i], i, params.len)); }
}
