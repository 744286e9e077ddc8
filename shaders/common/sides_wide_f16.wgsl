// As `sides.wgsl`, two fours of halves as two 64-bit integers.
const PARTS: u32 = 2u;
const SIDE: u32 = 8u;
alias Side = vec2<u64>;
fn place(i: u32, p: u32) -> u32 { return i * 2u + p; }
fn parts_of(v: Side) -> array<vec4<f32>, PARTS> { return array(loaded(v.x), loaded(v.y)); }
fn whole(parts: array<vec4<f32>, PARTS>) -> Side { return vec2(stored(parts[0]), stored(parts[1])); }
