// The mean of an image's tokens from `first` on, and the gradient that spreads it over them.
//   x, dx  [batch, tokens, width]
//   y, dy  [batch, width]
// An Item is what an invocation makes, and width counts items.
#include "common/grid.wgsl"
alias Item = vec4<f32>;
struct Params { batch: u32, tokens: u32, width: u32, first: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Item>;
@group(0) @binding(2) var<storage, read_write> y: array<Item>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    if index >= params.batch * params.width { return; }
    let image = index / params.width * params.tokens;
    var sum = Item();
    for (var token = params.first; token < params.tokens; token++) {
        sum += x[(image + token) * params.width + index % params.width];
    }
    y[index] = sum / f32(params.tokens - params.first);
}

// Here x is dy and y is dx.
@compute @workgroup_size(64)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    if index >= params.batch * params.tokens * params.width { return; }
    var v = Item();
    if index / params.width % params.tokens >= params.first {
        let image = index / params.width / params.tokens;
        v = x[image * params.width + index % params.width] / f32(params.tokens - params.first);
    }
    y[index] = v;
}
