// What a matrix unit's sums become: f32, a block at once where nothing but a sum is to be added.
@group(0) @binding(4) var<storage, read> extra: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> slopes: array<f32>;
const DIRECT: bool = true;

fn extra_block(at: u32, stride: u32) -> Sum { return coopLoadT<Sum>(&extra[at], stride); }
fn store_block(found: Sum, at: u32, stride: u32) { coopStoreT(found, &y[at], stride); }
fn two_extra(at: u32) -> vec2<f32> { return vec2(extra[at], extra[at + 1u]); }
fn store_two(at: u32, v: vec2<f32>) {
    y[at] = v.x;
    y[at + 1u] = v.y;
}
fn slope_two(at: u32, v: vec2<f32>) {
    slopes[at] = v.x;
    slopes[at + 1u] = v.y;
}
