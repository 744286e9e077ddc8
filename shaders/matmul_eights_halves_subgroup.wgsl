// `matmul_eights_subgroup.wgsl` for operands and results in half precision; sums are f32.
#include "common/wide.wgsl"
#include "common/stored_fours_half_wide.wgsl"
#include "common/sides_half_wide.wgsl"
#include "common/operands_eights_half_wide.wgsl"
#include "common/matmul_fours.wgsl"
