// Matmul within WebGPU's default limits, one value a load.
#include "common/operands_scalar.wgsl"
#include "common/matmul_register.wgsl"
