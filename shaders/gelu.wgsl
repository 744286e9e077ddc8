// GELU.
#include "common/stored_fours.wgsl"
#include "common/gelu_fours.wgsl"
