// `product_quads.wgsl` for operands in half precision; sums are f32.
#include "common/operands_fours_half.wgsl"
#include "common/product_quads.wgsl"
