// The operands of a matmul in half precision, four values a load.
@group(0) @binding(1) var<storage, read> a: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> b: array<vec2<u32>>;

fn a_at(i: u32) -> vec4<f32> { return vec4(unpack2x16float(a[i].x), unpack2x16float(a[i].y)); }
fn b_at(i: u32) -> vec4<f32> { return vec4(unpack2x16float(b[i].x), unpack2x16float(b[i].y)); }
