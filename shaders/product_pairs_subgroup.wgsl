// Matrix product for software rasterizers with 64-bit integers.
#include "common/pairs.wgsl"
#include "common/operands_pairs.wgsl"
#include "common/product_pairs.wgsl"
