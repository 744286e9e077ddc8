// `attention_fours_subgroup.wgsl` for values in half precision.
#include "common/wide.wgsl"
#include "common/stored_fours_half_wide.wgsl"
#include "common/attention_fours.wgsl"
