// What the variants of flash attention share.
//   q            [batch, q_rows, q_stride]   queries are rows from q_first, columns head * HEAD..
//   kv           [batch, lk, kv_stride]      keys from column k_first, values from column v_first
//   y, dy        [batch, lq, heads * HEAD]
//   stats        [batch, heads, lq, 2]       largest score, 1/sum
//   delta        [batch, heads, lq]          dy . y
//   dq, dkv      as q, kv; rows of dq before q_first become zero
struct Params {
    heads: u32, lq: u32, lk: u32,
    q_rows: u32, q_first: u32, q_stride: u32,
    kv_stride: u32, k_first: u32, v_first: u32,
    scale: f32,
}
const HEAD: u32 = 64u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read> stats_in: array<f32>;
@group(0) @binding(6) var<storage, read> delta_in: array<f32>;
@group(0) @binding(8) var<storage, read_write> stats: array<f32>;
@group(0) @binding(10) var<storage, read_write> delta: array<f32>;

fn query_at(batch: u32, head: u32, i: u32) -> u32 {
    return (batch * params.q_rows + params.q_first + i) * params.q_stride + head * HEAD;
}

fn key_at(batch: u32, head: u32, j: u32) -> u32 {
    return (batch * params.lk + j) * params.kv_stride + params.k_first + head * HEAD;
}
