// Tokens of every image from rows that each stand once: `head` rows of an image's own, and a row a patch for all images,
// which stands wherever an image masks that patch.
//   rows, dx  [batch * head + patches, width]
//   order     [batch, patches]                  patch indices, the masked ones from `first` on
//   y, dy     [batch, head + patches - first, width]
//   slots     [batch, patches]                  where in the order a patch stands
// Width counts Items; a Sum adds them up.
#include "common/grid.wgsl"
#include "common/stored_vec4.wgsl"
#include "common/many_vec4s.wgsl"
alias Item = Stored;
alias Sum = vec4<f32>;
struct Params { batch: u32, head: u32, patches: u32, first: u32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Item>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<Item>;
@group(0) @binding(4) var<storage, read_write> slots: array<u32>;

// An invocation moves several items of a row, so that it looks up the row once for all of them.
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    let across = (params.width + ACROSS * VEC4S - 1u) / (ACROSS * VEC4S) * ACROSS;
    let tokens = params.head + params.patches - params.first;
    if index / across >= params.batch * tokens { return; }
    let token = index / across % tokens;
    let image = index / across / tokens;
    var row = image * params.head + token;
    if token >= params.head {
        let patch_index = order[image * params.patches + params.first + token - params.head];
        row = params.batch * params.head + min(patch_index, params.patches - 1u);
    }
    let source = row * params.width;
    let destination = index / across * params.width;
    let first = first_vec4(index % across);
    // unroll
    for (var i = 0u; i < VEC4S; i++) {
        let column = first + i * ACROSS;
        if column < params.width { y[destination + column] = x[source + column]; }
    }
}

@compute @workgroup_size(64)
fn invert(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    if index >= params.batch * params.patches { return; }
    let slot = index % params.patches;
    slots[index - slot + min(order[index], params.patches - 1u)] = slot;
}

// dx of an image's own row is its dy; that of a patch the sum over the images that mask it, in their order. Here `order`
// is bound to slots, and an invocation makes one item.
@compute @workgroup_size(64)
fn collect(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    let own = params.batch * params.head;
    if index >= (own + params.patches) * params.width { return; }
    let column = index % params.width;
    let row = index / params.width;
    let tokens = params.head + params.patches - params.first;
    if row < own {
        y[index] = x[(row / params.head * tokens + row % params.head) * params.width + column];
        return;
    }
    var sum = Sum();
    for (var image = 0u; image < params.batch; image++) {
        let slot = order[image * params.patches + row - own];
        if slot >= params.first {
            sum += loaded(x[(image * tokens + params.head + slot - params.first) * params.width + column]);
        }
    }
    y[index] = stored(sum);
}
