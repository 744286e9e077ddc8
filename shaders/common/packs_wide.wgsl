// As `packs.wgsl`, two vec4s of f32 as four 64-bit integers.
const PARTS: u32 = 2u;
const PACK: u32 = 8u;
alias Pack = vec4<u64>;
fn place(i: u32, p: u32) -> u32 { return i * 2u + p; }
fn parts_of(v: Pack) -> array<vec4<f32>, PARTS> { return array(vec4_of(v.xy), vec4_of(v.zw)); }
fn whole(parts: array<vec4<f32>, PARTS>) -> Pack { return vec4(bits_of(parts[0]), bits_of(parts[1])); }
