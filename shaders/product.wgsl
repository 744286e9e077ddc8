// Matrix product within WebGPU's default limits, one value a load.
#include "common/operands_scalar.wgsl"
#include "common/product_register.wgsl"
