// GELU of values in half precision.
#include "common/stored_fours_half.wgsl"
#include "common/gelu_fours.wgsl"
