// The normal distribution's cumulative function. erf is x P(x^2) below 1 and 1 - exp(Q(|x|)) from there to 4, where it is
// 1 to f32's rounding; P and Q are Chebyshev fits of erf(sqrt s)/sqrt s and ln erfc(t), in error by 1.3e-9 and 1.7e-8.
fn erf(x: f32) -> f32 {
    let t = min(abs(x), 4.0);
    let s = t * t;
    var p = fma(7.875875063e-5, s, -8.016864287e-4);
    p = fma(p, s, 5.189087423e-3);
    p = fma(p, s, -2.685421201e-2);
    p = fma(p, s, 1.128359472e-1);
    p = fma(p, s, -3.761262667e-1);
    p = fma(p, s, 1.128379166);
    var q = fma(1.637151415e-6, t, -4.605804269e-5);
    q = fma(q, t, 5.968056257e-4);
    q = fma(q, t, -4.759596293e-3);
    q = fma(q, t, 2.642113601e-2);
    q = fma(q, t, -1.100800829e-1);
    q = fma(q, t, -6.318260516e-1);
    q = fma(q, t, -1.130233435);
    q = fma(q, t, 3.201380497e-4);
    return select(sign(x) * (1.0 - exp(q)), x * p, t < 1.0);
}

fn normal_cdf(x: f32) -> f32 {
    return 0.5 + 0.5 * erf(x * 0.7071067811865476);
}
