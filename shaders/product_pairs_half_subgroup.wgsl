// `product_pairs_subgroup.wgsl` for operands in half precision; sums and results are f32.
#include "common/operands_pairs_half.wgsl"
#include "common/stored_pairs.wgsl"
#include "common/product_pairs.wgsl"
