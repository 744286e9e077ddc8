// The kernel of `common/patchify.wgsl`, a value an invocation.
#include "common/patchify.wgsl"
alias Item = f32;
