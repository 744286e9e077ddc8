// A copy, the yardstick of kernels that move memory: y = x.
//   x, y  [len], read and written four at a time
#include "common/grid.wgsl"
struct Params { vec4s: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    if i >= params.vec4s { return; }
    y[i] = x[i];
}
