// What a matrix unit's sums become: f32, a block at once where nothing but sums is to be added.
#include "common/stored_fours.wgsl"
@group(0) @binding(4) var<storage, read> extra: array<Four>;
@group(0) @binding(5) var<storage, read_write> y: array<Four>;
@group(0) @binding(6) var<storage, read_write> slopes: array<Four>;
const DIRECT: bool = EPILOGUE < 2u;

// `at` and `stride` count fours.
fn with_extra(sums: Sum, at: u32, stride: u32) -> Sum {
    if EPILOGUE == 1u { return sums + coopLoadT<Sum>(&extra[at], stride); }
    return sums;
}
fn store_block(sums: Sum, at: u32, stride: u32) { coopStoreT(sums, &y[at], stride); }
