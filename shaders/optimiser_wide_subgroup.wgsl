// `optimiser.wgsl` for software rasterizers with 64-bit integers: two fours a load, so that llvmpipe finds out but once for
// both whether the lane is active and where it reads.
#include "common/fours.wgsl"
#include "common/wide.wgsl"
#include "common/sides_wide.wgsl"
#include "common/optimiser.wgsl"
