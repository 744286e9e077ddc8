// Rows by index, and the gradient that puts them back.
//   table  [batch, rows, width] or [rows, width] shared by all images (table_stride 0)
//   order  [batch, n]
//   y, dy  [batch, count, width]   y[b, i] = table[b, order[b, first + i]]
//   dx     as table
// An Item is what an invocation moves, and width counts items.
#include "common/grid.wgsl"
alias Item = vec4<f32>;
struct Params { batch: u32, rows: u32, width: u32, n: u32, first: u32, count: u32, table_stride: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<Item>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<Item>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    if index >= params.batch * params.count * params.width { return; }
    let c = index % params.width;
    let slot = index / params.width;
    let image = slot / params.count;
    let row = min(order[image * params.n + params.first + slot % params.count], params.rows - 1u);
    y[index] = table[image * params.table_stride + row * params.width + c];
}

// dx[b, r] is the sum of dy over the slots that took row r, in the order of the slots.
@compute @workgroup_size(64)
fn scatter(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    let shared_table = params.table_stride == 0u;
    let images = select(params.batch, 1u, shared_table);
    if index >= images * params.rows * params.width { return; }
    let c = index % params.width;
    let row = index / params.width % params.rows;
    let first = select(index / params.width / params.rows, 0u, shared_table);
    var sum = Item();
    for (var image = first; image < select(first + 1u, params.batch, shared_table); image++) {
        for (var i = 0u; i < params.count; i++) {
            if order[image * params.n + params.first + i] == row {
                sum += table[(image * params.count + i) * params.width + c];
            }
        }
    }
    y[index] = sum;
}
