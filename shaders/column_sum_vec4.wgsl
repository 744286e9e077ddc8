// As `column_sum.wgsl`, four columns an invocation, a multiple of which there must be, without runs.
#include "common/grid.wgsl"
#include "common/stored_vec4.wgsl"
struct Params { rows: u32, cols: u32, chunk: u32, repeat: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Stored>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = grid_index(id, groups);
    let vec4s = params.cols / 4u;
    let first = index / vec4s * params.chunk;
    if first >= params.rows { return; }
    let column = index % vec4s;
    let end = min(first + params.chunk, params.rows) * vec4s + column;
    var at = first * vec4s + column;
    var sum = vec4(0.0);
    for (; at + 3u * vec4s < end; at += 4u * vec4s) {
        sum += (loaded(x[at]) + loaded(x[at + vec4s])) + (loaded(x[at + 2u * vec4s]) + loaded(x[at + 3u * vec4s]));
    }
    for (; at < end; at += vec4s) { sum += loaded(x[at]); }
    y[index] = sum;
}
