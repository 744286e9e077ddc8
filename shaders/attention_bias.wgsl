// The bias of a fused projection: the query's bias (or none), zeros for the keys, the value's bias.
//   query  [first]   bound to value where there is none
//   value  [len - gap_end]
//   y      [len]
// and a slice of a vector, its gradient.
#include "common/grid.wgsl"
struct Params { len: u32, first: u32, gap_end: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> query: array<f32>;
@group(0) @binding(2) var<storage, read> value: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    if i >= params.len { return; }
    var v = 0.0;
    if i < params.first { v = query[i]; }
    if i >= params.gap_end { v = value[i - params.gap_end]; }
    y[i] = v;
}

@compute @workgroup_size(64)
fn slice(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = grid_index(id, groups);
    if i < params.len { y[i] = value[params.first + i]; }
}
