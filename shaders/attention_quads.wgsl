// Softmax attention with four values a load.
#include "common/stored_fours.wgsl"
#include "common/attention_quads.wgsl"
