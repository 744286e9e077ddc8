// What the matrix product's variants share.
//   y[m, n] = sum_k a(m, k) b(k, n) + bias[n / bias_repeat]
// with a(m, k) at m * a_row + k * a_k and b(k, n) at k * b_k + n * b_column, so that one kernel serves x W^T, dy W and
// dy^T x. Where there is no bias its binding holds b.
struct Params {
    m: u32, n: u32, k: u32,
    a_row: u32, a_k: u32, b_k: u32, b_column: u32,
    bias_repeat: u32,
}
const HAS_BIAS: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn store(row: u32, column: u32, value: f32) {
    if row < params.m && column < params.n {
        var v = value;
        if HAS_BIAS == 1u { v += bias[column / params.bias_repeat]; }
        y[row * params.n + column] = v;
    }
}
