// Two neighbouring f32 values, loaded as one 64-bit integer.
fn low(v: u64) -> f32 { return bitcast<f32>(u32(v)); }
fn high(v: u64) -> f32 { return bitcast<f32>(u32(v >> 32u)); }
