// Softmax attention whose workgroups share their loads, of values in half precision; scores and sums are f32.
#include "common/stored_fours_half.wgsl"
#include "common/attention_in_fours.wgsl"
#include "common/attention_shared.wgsl"
