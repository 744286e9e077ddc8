// Layer normalisation with a workgroup a row.
#include "common/stored_fours.wgsl"
#include "common/layer_norm_workgroup.wgsl"
