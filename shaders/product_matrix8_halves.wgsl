// Matrix product by matrix units of 8 by 8, with results in half precision.
enable f16;
enable wgpu_cooperative_matrix;
alias OfA = coop_mat8x8<f16, A>;
alias OfB = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
const SIDE: u32 = 8u;
alias Result = f16;
// Sums are f32, so no block is stored, or added to, as it is.
const DIRECT: bool = false;
fn extra_block(at: u32, stride: u32) -> Sum { return Sum(); }
fn store_block(found: Sum, to: u32, stride: u32) {}
#include "common/product_matrix.wgsl"
