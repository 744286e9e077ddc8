// Matmul by matrix units of 16 by 16 through shared memory, with f32 results.
enable f16;
enable wgpu_cooperative_matrix;
alias OfA = coop_mat16x16<f16, A>;
alias OfB = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;
const SIDE: u32 = 16u;
#include "common/matrix_results.wgsl"
#include "common/matmul_matrix_workgroup.wgsl"
