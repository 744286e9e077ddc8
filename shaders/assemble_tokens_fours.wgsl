// The kernels of `common/assemble_tokens.wgsl`, four values an invocation.
#include "common/assemble_tokens.wgsl"
alias Item = vec4<f32>;
