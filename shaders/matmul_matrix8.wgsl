// Matmul by matrix units of 8 by 8, with f32 results.
enable f16;
enable wgpu_cooperative_matrix;
alias OfA = coop_mat8x8<f16, A>;
alias OfB = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
const SIDE: u32 = 8u;
#include "common/matrix_results.wgsl"
#include "common/matmul_matrix.wgsl"
