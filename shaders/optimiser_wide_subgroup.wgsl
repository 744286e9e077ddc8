// `optimiser.wgsl` for software rasterizers with 64-bit integers: two fours a load, so that llvmpipe finds out but once for
// both whether the lane is active and where it reads.
#include "common/fours.wgsl"
#include "common/wide.wgsl"
const PARTS: u32 = 2u;
fn place(i: u32, p: u32) -> u32 { return i * 2u + p; }
alias Some = vec4<u64>;
fn part(v: Some, p: u32) -> vec4<f32> {
    if p == 0u { return four(v.xy); }
    return four(v.zw);
}
fn whole(parts: array<vec4<f32>, PARTS>) -> Some { return vec4(bits_of(parts[0]), bits_of(parts[1])); }
#include "common/optimiser.wgsl"
