// What happens to a shard of weights after the backward pass.
#include "common/fours.wgsl"
#include "common/stored_fours.wgsl"
#include "common/sides.wgsl"
#include "common/optimiser.wgsl"
