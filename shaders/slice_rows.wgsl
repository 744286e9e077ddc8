// The kernels of `common/slice_rows.wgsl`, a value an invocation.
#include "common/slice_rows.wgsl"
alias Item = f32;
