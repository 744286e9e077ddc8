// The kernels of `common/gather_rows.wgsl`, a value an invocation.
#include "common/gather_rows.wgsl"
alias Item = f32;
