// b along n by sides of one four.
fn b_across(i: u32) -> array<vec4<f32>, PARTS> { return array<vec4<f32>, PARTS>(b_at(i)); }
