// `product_workgroup.wgsl` for operands in half precision; sums are f32.
#include "common/operands_fours_half.wgsl"
#include "common/product_workgroup.wgsl"
