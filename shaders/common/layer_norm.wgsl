// What the variants of layer normalisation share.
//   x, y, dy, dx        [rows, cols]
//   gain, bias          [cols]         bound to x where there are none
//   residual            [rows, cols]   what dx is added to where ADDS, else bound to x
//   stats               [rows, 2]      mean, 1/deviation
//   gain_sum, bias_sum  [chunks, cols] sums of dy * normalised x, and of dy, over chunks of `chunk` rows
struct Params { rows: u32, cols: u32, divisor: f32, eps: f32, chunk: u32 }
const AFFINE: u32 = 1u;
const ADDS: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
