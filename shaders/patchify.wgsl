// Images cut into patches in raster order; a patch lists channels, then its rows, then its columns.
//   images  [batch, channels, height, width]
//   y       [batch, (height / patch_rows) * (width / patch_columns), channels * patch_rows * patch_columns]
// An Item is what an invocation moves, and width and patch_columns count items.
#include "common/grid.wgsl"
alias Item = vec4<f32>;
struct Params { batch: u32, channels: u32, height: u32, width: u32, patch_rows: u32, patch_columns: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> images: array<Item>;
@group(0) @binding(2) var<storage, read_write> y: array<Item>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    if index >= params.batch * params.channels * params.height * params.width { return; }
    let patch_items = params.patch_rows * params.patch_columns;
    let column = index % params.patch_columns;
    let row = index / params.patch_columns % params.patch_rows;
    let channel = index / patch_items % params.channels;
    let cell = index / (patch_items * params.channels);
    let columns = params.width / params.patch_columns;
    let cells = columns * (params.height / params.patch_rows);
    let image = cell / cells;
    let top = cell % cells / columns * params.patch_rows + row;
    let left = cell % columns * params.patch_columns + column;
    y[index] = images[((image * params.channels + channel) * params.height + top) * params.width + left];
}
