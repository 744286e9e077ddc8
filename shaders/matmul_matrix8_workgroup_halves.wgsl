// Matmul by matrix units of 8 by 8 through shared memory, with results in half precision.
enable f16;
enable wgpu_cooperative_matrix;
alias OfA = coop_mat8x8<f16, A>;
alias OfB = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
const SIDE: u32 = 8u;
#include "common/matrix_results_half.wgsl"
#include "common/matmul_matrix_workgroup.wgsl"
