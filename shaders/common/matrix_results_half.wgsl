// What a matrix unit's sums become: halves. Sums are f32, so that no block is stored, or added to, at once.
#include "common/stored_fours_half.wgsl"
@group(0) @binding(4) var<storage, read> extra: array<Four>;
@group(0) @binding(5) var<storage, read_write> y: array<Four>;
@group(0) @binding(6) var<storage, read_write> slopes: array<Four>;
const DIRECT: bool = false;

fn with_extra(sums: Sum, at: u32, stride: u32) -> Sum { return sums; }
fn store_block(sums: Sum, at: u32, stride: u32) {}
