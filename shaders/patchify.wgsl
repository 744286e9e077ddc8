// Images cut into patches in raster order; a patch lists channels, then its rows, then its columns.
//   images  [batch, channels, height, width]
//   y       [batch, (height / patch) * (width / patch), channels * patch * patch]
#include "common/grid.wgsl"
struct Params { batch: u32, channels: u32, height: u32, width: u32, patch_size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> images: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    if index >= params.batch * params.channels * params.height * params.width { return; }
    let p = params.patch_size;
    let columns = params.width / p;
    let column = index % p;
    let row = index / p % p;
    let channel = index / (p * p) % params.channels;
    let cell = index / (p * p * params.channels);
    let image = cell / (columns * (params.height / p));
    let in_image = cell % (columns * (params.height / p));
    let top = in_image / columns * p + row;
    let left = in_image % columns * p + column;
    y[index] = images[((image * params.channels + channel) * params.height + top) * params.width + left];
}
