// The kernel of `common/patchify.wgsl`, four values an invocation.
#include "common/patchify.wgsl"
alias Item = vec4<f32>;
