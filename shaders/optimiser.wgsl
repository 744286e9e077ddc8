// What happens to a shard of weights after the backward pass.
#include "common/fours.wgsl"
const PARTS: u32 = 1u;
fn place(i: u32, p: u32) -> u32 { return i; }
alias Some = vec4<f32>;
fn part(v: Some, p: u32) -> vec4<f32> { return v; }
fn whole(parts: array<vec4<f32>, PARTS>) -> Some { return parts[0]; }
#include "common/optimiser.wgsl"
