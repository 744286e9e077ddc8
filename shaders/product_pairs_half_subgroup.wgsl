// `product_pairs_subgroup.wgsl` for operands in half precision; sums are f32.
#include "common/pairs.wgsl"
#include "common/operands_pairs_half.wgsl"
#include "common/product_pairs.wgsl"
