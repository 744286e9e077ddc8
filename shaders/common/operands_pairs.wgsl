// The operands of a product, two values a load.
@group(0) @binding(1) var<storage, read> a: array<u64>;
@group(0) @binding(2) var<storage, read> b: array<u64>;

fn a_at(i: u32) -> vec2<f32> { return vec2(low(a[i]), high(a[i])); }
fn b_at(i: u32) -> vec2<f32> { return vec2(low(b[i]), high(b[i])); }
