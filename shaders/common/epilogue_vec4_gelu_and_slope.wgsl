// Stores GELU, and its slope for the backward pass, a vec4 at a time.
#include "common/gelu.wgsl"
@group(0) @binding(5) var<storage, read_write> y: array<Stored>;
@group(0) @binding(6) var<storage, read_write> slopes: array<Stored>;
const HAS_EXTRA: bool = false;

fn extra_at(at: u32) -> vec4<f32> { return vec4(0.0); }

fn put(at: u32, v: vec4<f32>, e: vec4<f32>) {
    let both = activated(v);
    y[at] = stored(both.y);
    slopes[at] = stored(both.slope);
}
