// Two tensors of one shape, element by element, four an invocation.
//   a, b, y  [len]
#include "common/grid.wgsl"
#include "common/vec4s.wgsl"
struct Params { len: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn add(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    if i * 4u < params.len { y[i] = up_to(a[i] + b[i], i, params.len); }
}

@compute @workgroup_size(64)
fn multiply(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    if i * 4u < params.len { y[i] = up_to(a[i] * b[i], i, params.len); }
}
