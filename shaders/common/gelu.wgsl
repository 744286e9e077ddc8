// The Gaussian error linear unit with the exact error function, x * Phi(x), and its derivative Phi(x) + x * phi(x).
#include "common/normal_cdf.wgsl"

fn gelu(x: f32) -> f32 {
    return x * normal_cdf(x);
}

fn gelu_slope(x: f32) -> f32 {
    return fma(x, 0.3989422804014327 * exp(-0.5 * x * x), normal_cdf(x));
}
