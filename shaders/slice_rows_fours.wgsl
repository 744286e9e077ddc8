// The kernels of `common/slice_rows.wgsl`, four values an invocation.
#include "common/slice_rows.wgsl"
alias Item = vec4<f32>;
