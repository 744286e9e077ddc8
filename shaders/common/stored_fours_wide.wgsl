// How tensors that may be in half precision are stored, four values at a time: here as f32, moved as two 64-bit integers.
alias Four = vec2<u64>;
fn loaded(v: Four) -> vec4<f32> { return four(v); }
fn stored(v: vec4<f32>) -> Four { return bits_of(v); }
