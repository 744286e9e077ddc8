// Matmul for GPUs.
#include "common/operands_fours.wgsl"
#include "common/stored_fours.wgsl"
#include "common/matmul_workgroup.wgsl"
