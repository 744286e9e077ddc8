// Every image's values times a factor of the image, and, with ADDS, a residual added.
//   x, residual, y  [batch, stride]
//   factors         [.., batch]      row `row` is taken
// An invocation makes one Item; stride counts these.
#include "common/grid.wgsl"
#include "common/stored_vec4.wgsl"
alias Item = vec4<f32>;
alias Made = Stored;
const ADDS: u32 = 0u;
struct Params { batch: u32, stride: u32, row: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Item>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read> residual: array<Item>;
@group(0) @binding(4) var<storage, read_write> y: array<Made>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    if index >= params.batch * params.stride { return; }
    var v = x[index] * factors[params.row * params.batch + index / params.stride];
    if ADDS == 1u { v += residual[index]; }
    y[index] = stored(v);
}
