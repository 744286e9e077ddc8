// Softmax attention for software rasterizers with 64-bit integers.
#include "common/stored_pairs.wgsl"
#include "common/attention_pairs.wgsl"
