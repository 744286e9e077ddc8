// What the matmul's variants share.
//   y[m, n] = epilogue(sum_k a(m, k) b(k, n) + bias[n / bias_repeat])
// with a(m, k) at m * a_row + k * a_k and b(k, n) at k * b_k + n * b_column, so that one kernel serves x W^T, dy W and
// dy^T x. Bindings that a matmul does not have hold b. a and b are declared by the include that reads them, y and what an
// epilogue reads and stores besides by the epilogue.
struct Params {
    m: u32, n: u32, k: u32,
    a_row: u32, a_k: u32, b_k: u32, b_column: u32,
    bias_repeat: u32,       // 0 where there is no bias
    rows_first: u32,        // 1 where neighbouring workgroups have neighbouring rows (`matmul_subgroup_vec4.wgsl`), not columns
    part: u32,              // terms that a workgroup sums: k, or less where the sum is divided (`matmul_shared.wgsl`)
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> bias: array<f32>;

fn bias_of(column: u32) -> f32 {
    if params.bias_repeat == 0u { return 0.0; }
    return bias[min(column, params.n - 1u) / params.bias_repeat];
}
