// The operands of a matmul, a pack a load.
@group(0) @binding(1) var<storage, read> a: array<Pack>;
@group(0) @binding(2) var<storage, read> b: array<Pack>;

fn a_at(i: u32) -> array<vec4<f32>, PARTS> { return parts_of(a[i]); }
fn b_at(i: u32) -> array<vec4<f32>, PARTS> { return parts_of(b[i]); }
