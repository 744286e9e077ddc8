// GELU with the exact error function: y = x * Phi(x), dx = dy * (Phi(x) + x * phi(x)).
//   x, y, dy, dx  [len]
#include "common/grid.wgsl"
#include "common/gelu.wgsl"
struct Params { len: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    if i >= params.len { return; }
    y[i] = gelu(x[i]);
}

@compute @workgroup_size(64)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    if i >= params.len { return; }
    y[i] = dy[i] * gelu_slope(x[i]);
}
