// What a lane loads or stores at once, a side of PARTS fours or SIDE values: here one four. Part p of side i is the
// place(i, p)th four.
const PARTS: u32 = 1u;
const SIDE: u32 = 4u;
alias Side = Four;
fn place(i: u32, p: u32) -> u32 { return i; }
fn parts_of(v: Side) -> array<vec4<f32>, PARTS> { return array(loaded(v)); }
fn whole(parts: array<vec4<f32>, PARTS>) -> Side { return stored(parts[0]); }
