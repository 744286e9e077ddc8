// `layer_norm_fours_subgroup.wgsl` where results, or the gradients of them, are in half precision.
#include "common/wide.wgsl"
#include "common/stored_fours_half_wide.wgsl"
#include "common/layer_norm_fours.wgsl"
