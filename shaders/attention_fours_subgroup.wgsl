// Softmax attention for software rasterizers with 64-bit integers.
#include "common/wide.wgsl"
#include "common/stored_fours_wide.wgsl"
#include "common/attention_fours.wgsl"
