// How tensors that may be in half precision are stored, two values at a time: here as halves.
#include "common/half.wgsl"
alias Two = u32;
alias StoredTwo = u32;
fn low(v: Two) -> f32 { return unpack2x16float(v).x; }
fn high(v: Two) -> f32 { return unpack2x16float(v).y; }
fn stored(v: vec2<f32>) -> StoredTwo {
    let bits = half_bits(vec4(v, 0.0, 0.0));
    return bits.x | (bits.y << 16u);
}
