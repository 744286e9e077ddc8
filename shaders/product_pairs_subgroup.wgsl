// Matrix product for software rasterizers with 64-bit integers.
#include "common/operands_pairs.wgsl"
#include "common/stored_pairs.wgsl"
#include "common/product_pairs.wgsl"
