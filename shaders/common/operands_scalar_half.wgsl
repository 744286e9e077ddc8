// The operands of a product in half precision, one value a load.
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;

fn a_at(i: u32) -> f32 { return unpack2x16float(a[i / 2u] >> (16u * (i & 1u))).x; }
fn b_at(i: u32) -> f32 { return unpack2x16float(b[i / 2u] >> (16u * (i & 1u))).x; }
