// As `matmul_fours_subgroup.wgsl`, but eight values a load and a store, so that one loop over the lanes moves them.
#include "common/wide.wgsl"
#include "common/stored_fours_wide.wgsl"
#include "common/sides_wide.wgsl"
#include "common/operands_fours_wide.wgsl"
#include "common/matmul_fours.wgsl"
