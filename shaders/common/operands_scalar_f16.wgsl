// The operands of a matmul in half precision, one value a load.
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;

fn a_at(i: u32) -> f32 {
    let pair = unpack2x16float(a[i / 2u]);
    return select(pair.x, pair.y, (i & 1u) == 1u);
}
fn b_at(i: u32) -> f32 {
    let pair = unpack2x16float(b[i / 2u]);
    return select(pair.x, pair.y, (i & 1u) == 1u);
}
