// Matmul for software rasterizers with 64-bit integers.
#include "common/wide.wgsl"
#include "common/stored_fours_wide.wgsl"
#include "common/sides.wgsl"
#include "common/operands_fours_wide.wgsl"
#include "common/matmul_fours.wgsl"
