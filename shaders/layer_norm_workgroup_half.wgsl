// Layer normalisation with a workgroup a row, its result and the slope there in half precision.
#include "common/stored_fours_half.wgsl"
#include "common/layer_norm_workgroup.wgsl"
