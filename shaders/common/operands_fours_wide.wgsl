// The operands of a product, four values a load, as two 64-bit integers.
#include "common/wide.wgsl"
@group(0) @binding(1) var<storage, read> a: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> b: array<vec2<u64>>;

fn a_at(i: u32) -> vec4<f32> { return four(a[i]); }
fn b_at(i: u32) -> vec4<f32> { return four(b[i]); }
