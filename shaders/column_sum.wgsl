// Sums over chunks of rows; applied until one row is left, in a fixed order. Columns may be summed in runs as well, for a
// bias that covers several columns.
//   x  [rows, cols * repeat]
//   y  [ceil(rows / chunk), cols]
#include "common/grid.wgsl"
struct Params { rows: u32, cols: u32, chunk: u32, repeat: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    let column = index % params.cols;
    let first = index / params.cols * params.chunk;
    if first >= params.rows { return; }
    var sum = 0.0;
    for (var row = first; row < min(first + params.chunk, params.rows); row++) {
        let at = (row * params.cols + column) * params.repeat;
        var run = 0.0;
        for (var r = 0u; r < params.repeat; r++) { run += x[at + r]; }
        sum += run;
    }
    y[index] = sum;
}
