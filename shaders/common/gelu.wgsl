// The Gaussian error linear unit with the exact error function, x * Phi(x), and its derivative Phi(x) + x * phi(x).
#include "common/normal_cdf.wgsl"

fn gelu(x: f32) -> f32 {
    return x * normal_cdf(x);
}

// GELU and its slope.
fn gelu_and_slope(x: f32) -> vec2<f32> {
    let cdf = normal_cdf(x);
    return vec2(x * cdf, fma(x, 0.3989422804014327 * exp(-0.5 * x * x), cdf));
}

struct Activated { y: vec4<f32>, slope: vec4<f32> }

// The same of four values.
fn activated(v: vec4<f32>) -> Activated {
    let x = gelu_and_slope(v.x);
    let y = gelu_and_slope(v.y);
    let z = gelu_and_slope(v.z);
    let w = gelu_and_slope(v.w);
    return Activated(vec4(x.x, y.x, z.x, w.x), vec4(x.y, y.y, z.y, w.y));
}
