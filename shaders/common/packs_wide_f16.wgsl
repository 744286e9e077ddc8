// As `packs.wgsl`, two vec4s of halves as two 64-bit integers.
const PARTS: u32 = 2u;
const PACK: u32 = 8u;
alias Pack = vec2<u64>;
fn place(i: u32, p: u32) -> u32 { return i * 2u + p; }
fn parts_of(v: Pack) -> array<vec4<f32>, PARTS> { return array(loaded(v.x), loaded(v.y)); }
fn whole(parts: array<vec4<f32>, PARTS>) -> Pack { return vec2(stored(parts[0]), stored(parts[1])); }
