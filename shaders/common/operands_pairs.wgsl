// The operands of a product, two values a load.
@group(0) @binding(1) var<storage, read> a: array<u64>;
@group(0) @binding(2) var<storage, read> b: array<u64>;

fn both(v: u64) -> vec2<f32> { return vec2(bitcast<f32>(u32(v)), bitcast<f32>(u32(v >> 32u))); }
fn a_at(i: u32) -> vec2<f32> { return both(a[i]); }
fn b_at(i: u32) -> vec2<f32> { return both(b[i]); }
