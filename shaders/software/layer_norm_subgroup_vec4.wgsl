// Layer normalisation for software rasterizers with 64-bit integers, whose loads are dear: one subgroup a chunk of rows,
// a row across its lanes in registers, so that each value is loaded once, four at a time (see `matmul_subgroup_vec4.wgsl`), and
// gain and bias once a chunk. The backward pass sums their gradients on the way. cols is a multiple of four.
#include "common/layer_norm.wgsl"
#include "common/wide.wgsl"
#include "common/stored_vec4_wide.wgsl"
const LANES: u32 = 8u;
const LOADS: u32 = 6u;      // ceil(cols / 4 / LANES): vec4s of a row in a lane

@group(0) @binding(1) var<storage, read> x: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> gain: array<vec2<u64>>;
@group(0) @binding(3) var<storage, read> bias: array<vec2<u64>>;
@group(0) @binding(4) var<storage, read> saved: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<Stored>;
@group(0) @binding(6) var<storage, read_write> y: array<Stored>;
@group(0) @binding(7) var<storage, read_write> stats: array<f32>;
@group(0) @binding(8) var<storage, read_write> gain_sum: array<vec2<u64>>;
@group(0) @binding(9) var<storage, read_write> bias_sum: array<vec2<u64>>;
@group(0) @binding(10) var<storage, read_write> dx: array<vec2<u64>>;
@group(0) @binding(11) var<storage, read> residual: array<vec2<u64>>;

// The sum over the lanes.
fn total(own: f32) -> f32 {
    var sum = 0.0;
    // unroll
    for (var l = 0u; l < LANES; l++) { sum += subgroupShuffle(own, l); }
    return sum;
}

@compute @workgroup_size(LANES)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let vec4s = params.cols / 4u;
    var gains: array<vec4<f32>, LOADS>;
    var biases: array<vec4<f32>, LOADS>;
    // unroll
    for (var t = 0u; t < LOADS; t++) {
        let c = min(t * LANES + local.x, vec4s - 1u);
        if AFFINE == 1u {
            gains[t] = vec4_of(gain[c]);
            biases[t] = vec4_of(bias[c]);
        }
    }
    let first = (group.y * groups.x + group.x) * params.chunk;
    for (var row = first; row < min(first + params.chunk, params.rows); row++) {
        var v = array<vec4<f32>, LOADS>();
        var sum = 0.0;
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            let c = t * LANES + local.x;
            v[t] = vec4_of(x[row * vec4s + min(c, vec4s - 1u)]);
            sum += select(0.0, (v[t].x + v[t].y) + (v[t].z + v[t].w), c < vec4s);
        }
        let mean = total(sum) / f32(params.cols);
        var square = 0.0;
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            v[t] -= mean;
            square += select(0.0, dot(v[t], v[t]), t * LANES + local.x < vec4s);
        }
        let scale = 1.0 / sqrt(total(square) / params.divisor + params.eps);
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            let c = t * LANES + local.x;
            var out = v[t] * scale;
            if AFFINE == 1u { out = fma(out, gains[t], biases[t]); }
            if c < vec4s { y[row * vec4s + c] = stored(out); }
        }
        if local.x < 2u { stats[row * 2u + local.x] = select(mean, scale, local.x == 1u); }
    }
}

// dx as in `layer_norm_scalar.wgsl`, and the sums for gain and bias.
@compute @workgroup_size(LANES)
fn backward_affine(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let vec4s = params.cols / 4u;
    var gains: array<vec4<f32>, LOADS>;
    var to_gain: array<vec4<f32>, LOADS>;
    var to_bias: array<vec4<f32>, LOADS>;
    // unroll
    for (var t = 0u; t < LOADS; t++) { gains[t] = vec4_of(gain[min(t * LANES + local.x, vec4s - 1u)]); }
    let chunk = group.y * groups.x + group.x;
    let first = chunk * params.chunk;
    if first >= params.rows { return; }
    for (var row = first; row < min(first + params.chunk, params.rows); row++) {
        let stat = saved[row * 2u + (local.x & 1u)];
        let mean = subgroupShuffle(stat, 0u);
        let scale = subgroupShuffle(stat, 1u);
        var n = array<vec4<f32>, LOADS>();
        var g = array<vec4<f32>, LOADS>();
        var sum = 0.0;
        var dots = 0.0;
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            let c = t * LANES + local.x;
            let at = row * vec4s + min(c, vec4s - 1u);
            let slope = loaded(dy[at]);
            n[t] = (vec4_of(x[at]) - mean) * scale;
            to_gain[t] = fma(slope, n[t], to_gain[t]);
            to_bias[t] += slope;
            g[t] = slope * gains[t];
            sum += select(0.0, (g[t].x + g[t].y) + (g[t].z + g[t].w), c < vec4s);
            dots += select(0.0, dot(g[t], n[t]), c < vec4s);
        }
        sum = total(sum) / f32(params.cols);
        dots = total(dots) / params.divisor;
        // unroll
        for (var t = 0u; t < LOADS; t++) {
            let c = t * LANES + local.x;
            if c < vec4s {
                var d = scale * (g[t] - sum - n[t] * dots);
                if ADDS == 1u { d += vec4_of(residual[row * vec4s + c]); }
                dx[row * vec4s + c] = bits_of(d);
            }
        }
    }
    // unroll
    for (var t = 0u; t < LOADS; t++) {
        let c = t * LANES + local.x;
        if c < vec4s {
            gain_sum[chunk * vec4s + c] = bits_of(to_gain[t]);
            bias_sum[chunk * vec4s + c] = bits_of(to_bias[t]);
        }
    }
}
