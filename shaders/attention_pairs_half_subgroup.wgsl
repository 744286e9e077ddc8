// Softmax attention of values in half precision for software rasterizers with subgroups; scores and sums are f32.
#include "common/stored_pairs_half.wgsl"
#include "common/attention_pairs.wgsl"
