// The kernels of `common/gather_rows.wgsl`, four values an invocation.
#include "common/gather_rows.wgsl"
alias Item = vec4<f32>;
