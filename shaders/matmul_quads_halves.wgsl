// `matmul_quads.wgsl` for operands and results in half precision; sums are f32.
#include "common/operands_fours_half.wgsl"
#include "common/stored_fours_half.wgsl"
#include "common/matmul_quads.wgsl"
