// Layer normalisation for software rasterizers with 64-bit integers.
#include "common/stored_pairs.wgsl"
#include "common/layer_norm_pairs.wgsl"
