// As `column_sum.wgsl`, four columns an invocation, a multiple of which there must be, without runs.
#include "common/grid.wgsl"
struct Params { rows: u32, cols: u32, chunk: u32, repeat: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Four>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    let fours = params.cols / 4u;
    let first = index / fours * params.chunk;
    if first >= params.rows { return; }
    let column = index % fours;
    let end = min(first + params.chunk, params.rows) * fours + column;
    var at = first * fours + column;
    var sum = vec4(0.0);
    for (; at + 3u * fours < end; at += 4u * fours) {
        sum += (loaded(x[at]) + loaded(x[at + fours])) + (loaded(x[at + 2u * fours]) + loaded(x[at + 3u * fours]));
    }
    for (; at < end; at += fours) { sum += loaded(x[at]); }
    y[index] = sum;
}
