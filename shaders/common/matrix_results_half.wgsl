// What a matrix unit's sums become: halves, two by two. Sums are f32, so that no block is stored, or added to, at once.
#include "common/stored_pairs_half.wgsl"
@group(0) @binding(4) var<storage, read> extra: array<Two>;
@group(0) @binding(5) var<storage, read_write> y: array<StoredTwo>;
@group(0) @binding(6) var<storage, read_write> slopes: array<StoredTwo>;
const DIRECT: bool = false;

fn extra_block(at: u32, stride: u32) -> Sum { return Sum(); }
fn store_block(found: Sum, at: u32, stride: u32) {}
fn two_extra(at: u32) -> vec2<f32> { return vec2(low(extra[at / 2u]), high(extra[at / 2u])); }
fn store_two(at: u32, v: vec2<f32>) { y[at / 2u] = stored(v); }
fn slope_two(at: u32, v: vec2<f32>) { slopes[at / 2u] = stored(v); }
