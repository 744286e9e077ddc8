// Layer normalisation with a row an invocation, four values a load.
#include "common/stored_fours.wgsl"
#include "common/layer_norm_quads.wgsl"
