// Softmax attention whose workgroups share their loads, four values a load.
#include "common/stored_fours.wgsl"
#include "common/attention_in_fours.wgsl"
#include "common/attention_shared.wgsl"
