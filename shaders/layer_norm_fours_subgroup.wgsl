// Layer normalisation for software rasterizers with 64-bit integers.
#include "common/wide.wgsl"
#include "common/stored_fours_wide.wgsl"
#include "common/layer_norm_fours.wgsl"
