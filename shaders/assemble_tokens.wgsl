// A token sequence from two runs: y = [prefix; rest + position].
//   prefix    [batch, head, width], or one token [width] for all images
//   rest      [batch, tail, width], or one token [width] for all slots (a mask token)
//   position  [batch, tail, width], or [tail, width] for all images
//   y         [batch, head + tail, width]
// An Item is what an invocation moves, and width counts items.
#include "common/grid.wgsl"
alias Item = vec4<f32>;
struct Params { batch: u32, head: u32, tail: u32, width: u32, prefix_shared: u32, rest_shared: u32, position_shared: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> prefix: array<Item>;
@group(0) @binding(2) var<storage, read> rest: array<Item>;
@group(0) @binding(3) var<storage, read> position: array<Item>;
@group(0) @binding(4) var<storage, read_write> y: array<Item>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    let tokens = params.head + params.tail;
    if index >= params.batch * tokens * params.width { return; }
    let c = index % params.width;
    let token = index / params.width % tokens;
    let image = index / params.width / tokens;
    var v = Item();
    if token < params.head {
        var at = c;
        if params.prefix_shared == 0u { at += (image * params.head + token) * params.width; }
        v = prefix[at];
    } else {
        let slot = (image * params.tail + token - params.head) * params.width + c;
        var at = c;
        if params.rest_shared == 0u { at = slot; }
        var cell = slot;
        if params.position_shared != 0u { cell = (token - params.head) * params.width + c; }
        v = rest[at] + position[cell];
    }
    y[index] = v;
}
