// `matmul.wgsl` for operands in half precision; sums and results are f32.
#include "common/operands_scalar_half.wgsl"
#include "common/matmul_register.wgsl"
