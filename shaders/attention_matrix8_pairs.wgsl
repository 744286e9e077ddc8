// Softmax attention by matrix units of 8 by 8, for heads whose columns are no multiple of 8.
enable f16;
enable wgpu_cooperative_matrix;
alias OfA = coop_mat8x8<f16, A>;
alias OfB = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
const SIDE: u32 = 8u;
#include "common/attention_in_pairs_half.wgsl"
#include "common/attention_matrix.wgsl"
