// A run of tokens, and the gradient that puts it back among zeros.
//   slice  y [batch, count, width] = x [batch, tokens, width] from token `first`
//   pad    y [batch, tokens, width] = x [batch, count, width] at token `first`, zeros elsewhere
// An Item is what an invocation moves, and width counts items.
#include "common/grid.wgsl"
alias Item = vec4<f32>;
struct Params { batch: u32, tokens: u32, width: u32, first: u32, count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Item>;
@group(0) @binding(2) var<storage, read_write> y: array<Item>;

@compute @workgroup_size(64)
fn slice(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    let run = params.count * params.width;
    if index >= params.batch * run { return; }
    y[index] = x[index / run * params.tokens * params.width + params.first * params.width + index % run];
}

@compute @workgroup_size(64)
fn pad(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    if index >= params.batch * params.tokens * params.width { return; }
    let token = index / params.width % params.tokens;
    var v = Item();
    if token >= params.first && token < params.first + params.count {
        let image = index / params.width / params.tokens;
        v = x[(image * params.count + token - params.first) * params.width + index % params.width];
    }
    y[index] = v;
}
