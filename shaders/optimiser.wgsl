// What happens to a shard of weights after the backward pass.
#include "common/stored_fours.wgsl"
#include "common/optimiser.wgsl"
