// How tensors that may be in half precision are stored, four values at a time: here as f32, moved as two 64-bit integers.
alias Stored = vec2<u64>;
fn loaded(v: Stored) -> vec4<f32> { return vec4_of(v); }
fn stored(v: vec4<f32>) -> Stored { return bits_of(v); }
