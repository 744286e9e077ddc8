// How tensors that may be in half precision are stored, four values at a time: here as f32, moved as two 64-bit integers.
alias Four = vec2<u64>;
fn loaded(v: Four) -> vec4<f32> { return vec4(both(v.x), both(v.y)); }
fn stored(v: vec4<f32>) -> Four { return vec2(joined(bitcast<vec2<u32>>(v.xy)), joined(bitcast<vec2<u32>>(v.zw))); }
