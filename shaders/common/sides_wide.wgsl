// As `sides.wgsl`, two fours of f32 as four 64-bit integers.
const PARTS: u32 = 2u;
const SIDE: u32 = 8u;
alias Side = vec4<u64>;
fn place(i: u32, p: u32) -> u32 { return i * 2u + p; }
fn parts_of(v: Side) -> array<vec4<f32>, PARTS> { return array(four(v.xy), four(v.zw)); }
fn whole(parts: array<vec4<f32>, PARTS>) -> Side { return vec4(bits_of(parts[0]), bits_of(parts[1])); }
