// Matrix product for GPUs.
#include "common/operands_fours.wgsl"
#include "common/stored_fours.wgsl"
#include "common/product_workgroup.wgsl"
