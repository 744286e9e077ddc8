// `matmul_workgroup.wgsl` for operands in half precision; sums and results are f32.
#include "common/operands_fours_half.wgsl"
#include "common/stored_fours.wgsl"
#include "common/matmul_workgroup.wgsl"
