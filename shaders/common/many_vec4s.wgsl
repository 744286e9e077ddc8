// Invocations that take VEC4S vec4s of values each: ACROSS of them side by side take vec4s side by side, again and again.
const VEC4S: u32 = 4u;
const ACROSS: u32 = 8u;

// The first of an invocation's; the others follow at a distance of ACROSS.
fn first_vec4(index: u32) -> u32 {
    return index / ACROSS * ACROSS * VEC4S + index % ACROSS;
}
