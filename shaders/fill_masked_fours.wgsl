// The kernels of `common/fill_masked.wgsl`, four values an invocation.
#include "common/stored_fours.wgsl"
#include "common/fill_masked.wgsl"
alias Item = Four;
alias Sum = vec4<f32>;
