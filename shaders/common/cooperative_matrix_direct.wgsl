// What a matrix unit's sums become: f32, a block at once where nothing but sums is to be added.
const DIRECT: bool = EPILOGUE < 2u;

// `at` and `stride` count vec4s.
fn with_extra(sums: Sum, at: u32, stride: u32) -> Sum {
    if EPILOGUE == 1u { return sums + coopLoadT<Sum>(&extra[at], stride); }
    return sums;
}
fn store_block(sums: Sum, at: u32, stride: u32) { coopStoreT(sums, &y[at], stride); }
