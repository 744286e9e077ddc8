// How tensors that may be in half precision are stored, four values at a time: here as halves.
#include "common/half.wgsl"
alias Stored = vec2<u32>;
fn loaded(v: Stored) -> vec4<f32> { return vec4(unpack2x16float(v.x), unpack2x16float(v.y)); }
fn stored(v: vec4<f32>) -> Stored { return to_halves(v); }
