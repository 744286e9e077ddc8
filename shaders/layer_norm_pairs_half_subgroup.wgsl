// Layer normalisation for software rasterizers with 64-bit integers, its result and the slope there in half precision.
#include "common/stored_pairs_half.wgsl"
#include "common/layer_norm_pairs.wgsl"
