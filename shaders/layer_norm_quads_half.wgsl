// Layer normalisation with a row an invocation, four values a load, its result and the slope there in half precision.
#include "common/stored_fours_half.wgsl"
#include "common/layer_norm_quads.wgsl"
