// The kernels of `common/assemble_tokens.wgsl`, a value an invocation.
#include "common/assemble_tokens.wgsl"
alias Item = f32;
