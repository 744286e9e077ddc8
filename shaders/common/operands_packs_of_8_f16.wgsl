// The operands of a matmul in half precision, eight values a load, as two 64-bit integers.
@group(0) @binding(1) var<storage, read> a: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> b: array<vec2<u64>>;

fn a_at(i: u32) -> array<vec4<f32>, PARTS> {
    let v = a[i];
    return array(of_halves(v.x), of_halves(v.y));
}
fn b_at(i: u32) -> array<vec4<f32>, PARTS> {
    let v = b[i];
    return array(of_halves(v.x), of_halves(v.y));
}
