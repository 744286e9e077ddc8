// Stores GELU, and its slope for the backward pass, one value at a time.
#include "common/gelu.wgsl"
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> slopes: array<f32>;

// `value` is the sum with its bias.
fn store(row: u32, column: u32, value: f32) {
    if row < params.m && column < params.n {
        let both = gelu_and_slope(value);
        y[row * params.n + column] = both.x;
        slopes[row * params.n + column] = both.y;
    }
}
