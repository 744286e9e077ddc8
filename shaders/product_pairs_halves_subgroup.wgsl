// `product_pairs_subgroup.wgsl` for operands and results in half precision; sums are f32.
#include "common/operands_pairs_half.wgsl"
#include "common/stored_pairs_half.wgsl"
#include "common/product_pairs.wgsl"
