// `matmul_eights_subgroup.wgsl` for operands in half precision; sums and results are f32.
#include "common/wide.wgsl"
#include "common/stored_fours_wide.wgsl"
#include "common/sides_wide.wgsl"
#include "common/operands_eights_half_wide.wgsl"
#include "common/matmul_fours.wgsl"
