// How tensors that may be in half precision are stored, four values at a time: here as f32.
alias Stored = vec4<f32>;
fn loaded(v: Stored) -> vec4<f32> { return v; }
fn stored(v: vec4<f32>) -> Stored { return v; }
