// The epilogue of matmuls that store one value at a time.
#include "common/epilogue.wgsl"
@group(0) @binding(4) var<storage, read> extra: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// `value` is the sum with its bias.
fn store(row: u32, column: u32, value: f32) {
    if row < params.m && column < params.n {
        let at = row * params.n + column;
        var more = 0.0;
        if HAS_EXTRA { more = extra[at]; }
        y[at] = after(value, more);
    }
}
