// What a lane loads or stores at once, a pack of PARTS vec4s or PACK values: here one vec4. Part p of pack i is the
// place(i, p)th vec4.
const PARTS: u32 = 1u;
const PACK: u32 = 4u;
alias Pack = Stored;
fn place(i: u32, p: u32) -> u32 { return i; }
fn parts_of(v: Pack) -> array<vec4<f32>, PARTS> { return array(loaded(v)); }
fn whole(parts: array<vec4<f32>, PARTS>) -> Pack { return stored(parts[0]); }
