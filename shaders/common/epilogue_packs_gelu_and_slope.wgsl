// Stores GELU, and its slope for the backward pass, a pack at a time.
#include "common/gelu.wgsl"
@group(0) @binding(5) var<storage, read_write> y: array<Pack>;
@group(0) @binding(6) var<storage, read_write> slopes: array<Pack>;

fn put(at: u32, sums: array<vec4<f32>, PARTS>) {
    var parts = array<vec4<f32>, PARTS>();
    var tangents = array<vec4<f32>, PARTS>();
    // unroll
    for (var p = 0u; p < PARTS; p++) {
        let both = activated(sums[p]);
        parts[p] = both.y;
        tangents[p] = both.slope;
    }
    y[at] = whole(parts);
    slopes[at] = whole(tangents);
}
