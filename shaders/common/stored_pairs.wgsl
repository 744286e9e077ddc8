// How tensors that may be in half precision are stored, two values at a time: here as f32, loaded as one 64-bit integer.
alias Two = u64;
alias StoredTwo = vec2<f32>;
fn low(v: Two) -> f32 { return bitcast<f32>(u32(v)); }
fn high(v: Two) -> f32 { return bitcast<f32>(u32(v >> 32u)); }
fn stored(v: vec2<f32>) -> StoredTwo { return v; }
