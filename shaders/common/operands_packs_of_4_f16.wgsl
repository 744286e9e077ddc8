// The operands of a matmul in half precision, four values a load, as one 64-bit integer.
@group(0) @binding(1) var<storage, read> a: array<u64>;
@group(0) @binding(2) var<storage, read> b: array<u64>;

fn a_at(i: u32) -> array<vec4<f32>, PARTS> { return array(of_halves(a[i])); }
fn b_at(i: u32) -> array<vec4<f32>, PARTS> { return array(of_halves(b[i])); }
