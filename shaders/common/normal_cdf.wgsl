// The normal distribution's cumulative function, Phi(x) = erfc(-x / sqrt 2) / 2. ln erfc(t) is a polynomial from 0 to 4, a
// least-squares fit that puts Phi in error by 3e-9, and by f32's rounding 2e-8; past 4 the tail is below that and taken as
// zero.
fn normal_cdf(x: f32) -> f32 {
    let t = min(abs(x) * 0.7071067811865476, 4.0);
    var q = fma(9.548132632e-8, t, -2.431298495e-6);
    q = fma(q, t, 2.756121415e-5);
    q = fma(q, t, -1.819204740e-4);
    q = fma(q, t, 7.519996370e-4);
    q = fma(q, t, -1.782273332e-3);
    q = fma(q, t, 2.052439438e-4);
    q = fma(q, t, 1.916325248e-2);
    q = fma(q, t, -1.027919839e-1);
    q = fma(q, t, -6.366155995e-1);
    q = fma(q, t, -1.128379450);
    let tail = select(0.5 * exp(q * t), 0.0, t == 4.0);
    return select(tail, 1.0 - tail, x > 0.0);
}
