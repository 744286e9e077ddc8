// Matmul by matrix units of 16 by 16, with results in half precision.
enable f16;
enable wgpu_cooperative_matrix;
alias OfA = coop_mat16x16<f16, A>;
alias OfB = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;
const SIDE: u32 = 16u;
#include "common/matrix_results_half.wgsl"
#include "common/matmul_matrix.wgsl"
