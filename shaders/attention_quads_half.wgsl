// Softmax attention of values in half precision, four a load; scores and sums are f32.
#include "common/stored_fours_half.wgsl"
#include "common/attention_quads.wgsl"
