// The operands of a matmul, four values a load.
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;

fn a_at(i: u32) -> vec4<f32> { return a[i]; }
fn b_at(i: u32) -> vec4<f32> { return b[i]; }
