// The kernels of `common/fill_masked.wgsl`, a value an invocation.
#include "common/fill_masked.wgsl"
alias Item = f32;
alias Sum = f32;
fn loaded(v: Item) -> Sum { return v; }
fn stored(v: Sum) -> Item { return v; }
