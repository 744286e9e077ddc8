// Invocations that take FOURS fours of values each: ACROSS of them side by side take fours side by side, again and again.
const FOURS: u32 = 4u;
const ACROSS: u32 = 8u;

// The first of an invocation's; the others follow at a distance of ACROSS.
fn first_four(index: u32) -> u32 {
    return index / ACROSS * ACROSS * FOURS + index % ACROSS;
}
