// `matmul_fours_subgroup.wgsl` for operands and results in half precision; sums are f32.
#include "common/wide.wgsl"
#include "common/stored_fours_half_wide.wgsl"
#include "common/sides.wgsl"
#include "common/operands_fours_half_wide.wgsl"
#include "common/matmul_fours.wgsl"
