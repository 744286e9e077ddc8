// As `product_fours_subgroup.wgsl`, but columns lie in a lane eight by eight, so that weights' gradients are stored and b is
// loaded, where it lies along n, by one loop over the lanes for eight values. n is a multiple of eight.
#include "common/wide.wgsl"
#include "common/stored_fours_wide.wgsl"
#include "common/sides_wide.wgsl"
@group(0) @binding(1) var<storage, read> a: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> b: array<Side>;

fn a_at(i: u32) -> vec4<f32> { return four(a[i]); }
fn b_at(i: u32) -> vec4<f32> { return part(b[i / 2u], i & 1u); }
fn b_across(i: u32) -> array<vec4<f32>, PARTS> {
    let v = b[i];
    return array(part(v, 0u), part(v, 1u));
}
#include "common/product_fours.wgsl"
