// Matrix product by matrix units of 16 by 16, with f32 results.
enable f16;
enable wgpu_cooperative_matrix;
alias OfA = coop_mat16x16<f16, A>;
alias OfB = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;
const SIDE: u32 = 16u;
alias Result = f32;
const DIRECT: bool = true;
fn extra_block(at: u32, stride: u32) -> Sum { return coopLoadT<Sum>(&extra[at], stride); }
fn store_block(found: Sum, to: u32, stride: u32) { coopStoreT(found, &y[to], stride); }
#include "common/product_matrix.wgsl"
