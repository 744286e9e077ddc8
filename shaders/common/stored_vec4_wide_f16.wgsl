// How tensors that may be in half precision are stored, four values at a time: here as halves, moved as one 64-bit integer.
#include "common/half.wgsl"
alias Stored = u64;
fn loaded(v: Stored) -> vec4<f32> { return of_halves(v); }
fn stored(v: vec4<f32>) -> Stored { return joined(to_halves(v)); }
