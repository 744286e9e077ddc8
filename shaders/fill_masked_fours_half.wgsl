// The kernels of `common/fill_masked.wgsl`, four halves an invocation; sums are f32.
#include "common/stored_fours_half.wgsl"
#include "common/fill_masked.wgsl"
alias Item = Four;
alias Sum = vec4<f32>;
