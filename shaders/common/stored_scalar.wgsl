// How tensors are stored, one value at a time.
fn loaded(v: f32) -> f32 { return v; }
fn stored(v: f32) -> f32 { return v; }
