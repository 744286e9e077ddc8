//! L-BFGS with a line search for the strong Wolfe conditions (Nocedal and Wright, *Numerical Optimization*, algorithms 7.4,
//! 7.5, 3.5 and 3.6, with cubic interpolation).

use std::collections::VecDeque;

/// Steps that are remembered.
const HISTORY: usize = 20;

/// Sufficient decrease and curvature.
const WOLFE: (f64, f64) = (1e-4, 0.9);

/// Evaluations of a line search at most.
const TRIES: usize = 25;

/// Differences of values below this share are rounding: products are in f32.
const ROUNDING: f64 = 1e-9;

/// A point, the value there and its gradient.
#[derive(Clone, Debug)]
pub struct Point {
    /// Where.
    pub at: Vec<f64>,
    /// The value.
    pub value: f64,
    /// The gradient.
    pub gradient: Vec<f64>,
}

/// What a minimisation found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The lowest point.
    pub point: Point,
    /// Steps that were taken.
    pub iterations: usize,
    /// Whether the largest entry of the gradient is below the tolerance.
    pub converged: bool,
}

/// Minimises a smooth function from `start` on, until the largest entry of its gradient is below `tolerance` or `most` steps
/// are taken. `evaluate` gives value and gradient.
pub fn minimise(
    start: Vec<f64>,
    tolerance: f64,
    most: usize,
    mut evaluate: impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Found {
    let mut at = |at: Vec<f64>| {
        let (value, gradient) = evaluate(&at);
        Point { at, value, gradient }
    };
    let mut point = at(start);
    let mut history: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    for iterations in 0..most {
        let largest = point.gradient.iter().fold(0.0f64, |most, entry| most.max(entry.abs()));
        if largest < tolerance {
            return Found { point, iterations, converged: true };
        }
        let mut direction = direction(&history, &point.gradient);
        let mut slope = dot(&direction, &point.gradient);
        if slope.is_nan() || slope >= 0.0 {
            history.clear();
            direction = point.gradient.iter().map(|entry| -entry).collect();
            slope = -dot(&point.gradient, &point.gradient);
        }
        // Nothing is known of the scale at first.
        let first = if history.is_empty() { (1.0 / (-slope).sqrt()).min(1.0) } else { 1.0 };
        let Some(next) = line_search(&point, &direction, slope, first, &mut at) else {
            if history.is_empty() {
                return Found { point, iterations, converged: false };
            }
            history.clear();
            continue;
        };
        let step: Vec<f64> = next.at.iter().zip(&point.at).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = next.gradient.iter().zip(&point.gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&step, &change);
        if curvature > 1e-10 * dot(&change, &change).max(f64::MIN_POSITIVE) {
            history.push_back((step, change, 1.0 / curvature));
            if history.len() > HISTORY {
                history.pop_front();
            }
        }
        point = next;
    }
    Found { point, iterations: most, converged: false }
}

/// The gradient times minus the inverse of the curvature that the history tells.
fn direction(history: &VecDeque<(Vec<f64>, Vec<f64>, f64)>, gradient: &[f64]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|entry| -entry).collect();
    let mut shares = Vec::with_capacity(history.len());
    for (step, change, inverse) in history.iter().rev() {
        let share = inverse * dot(step, &direction);
        add(&mut direction, -share, change);
        shares.push(share);
    }
    if let Some((_, change, inverse)) = history.back() {
        let scale = 1.0 / (inverse * dot(change, change));
        direction.iter_mut().for_each(|entry| *entry *= scale);
    }
    for ((step, change, inverse), share) in history.iter().zip(shares.into_iter().rev()) {
        let other = inverse * dot(change, &direction);
        add(&mut direction, share - other, step);
    }
    direction
}

/// A point along the direction that fulfils the strong Wolfe conditions, or as good a one as rounding lets be told; none where
/// no point is lower.
fn line_search(
    from: &Point,
    direction: &[f64],
    slope: f64,
    first: f64,
    at: &mut impl FnMut(Vec<f64>) -> Point,
) -> Option<Point> {
    struct Tried {
        length: f64,
        value: f64,
        slope: f64,
        point: Option<Point>,
    }
    let mut tried = |length: f64| {
        let mut to = from.at.clone();
        add(&mut to, length, direction);
        let point = at(to);
        Tried { length, value: point.value, slope: dot(&point.gradient, direction), point: Some(point) }
    };
    let rounding = ROUNDING * from.value.abs();
    let decreases = |t: &Tried| t.value <= from.value + WOLFE.0 * t.length * slope + rounding;
    let is_flat = |t: &Tried| t.slope.abs() <= -WOLFE.1 * slope;
    let mut low = Tried { length: 0.0, value: from.value, slope, point: None };
    let mut high: Option<Tried> = None;
    let mut length = first;
    for _ in 0..TRIES {
        let mut new = tried(length);
        if !new.value.is_finite() || !decreases(&new) || (new.value > low.value + rounding && low.length > 0.0) {
            high = Some(new);
        } else if is_flat(&new) {
            return new.point;
        } else {
            // The low end is the best so far, and downhill from it is the other end.
            let turns = match &high {
                Some(high) => new.slope * (high.length - low.length) >= 0.0,
                None => new.slope >= 0.0,
            };
            std::mem::swap(&mut low, &mut new);
            if turns {
                high = Some(new);
            }
        }
        length = match &high {
            None => 2.0 * low.length,
            Some(high) => {
                let (a, b) = (low.length.min(high.length), low.length.max(high.length));
                let margin = 0.1 * (b - a);
                let cubic = if high.value.is_finite() {
                    cubic((low.length, low.value, low.slope), (high.length, high.value, high.slope))
                } else {
                    f64::NAN
                };
                if (a + margin..=b - margin).contains(&cubic) { cubic } else { (a + b) / 2.0 }
            }
        };
    }
    low.point
}

/// The minimum of the cubic through two values and slopes; NaN where it has none.
fn cubic((x0, y0, s0): (f64, f64, f64), (x1, y1, s1): (f64, f64, f64)) -> f64 {
    let first = s0 + s1 - 3.0 * (y0 - y1) / (x0 - x1);
    let second = (x1 - x0).signum() * (first * first - s0 * s1).sqrt();
    x1 - (x1 - x0) * (s1 + second - first) / (s1 - s0 + 2.0 * second)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], scale: f64, other: &[f64]) {
    to.iter_mut().zip(other).for_each(|(to, other)| *to += scale * other);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curved_valley_is_followed_to_its_end() {
        // Rosenbrock's function in six dimensions: five terms 100 (y - x²)² + (1 - x)².
        let rosenbrock = |x: &[f64]| {
            let (mut value, mut gradient) = (0.0, vec![0.0; x.len()]);
            for i in 0..x.len() - 1 {
                let (a, b) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
                value += 100.0 * a * a + b * b;
                gradient[i] -= 400.0 * a * x[i] + 2.0 * b;
                gradient[i + 1] += 200.0 * a;
            }
            (value, gradient)
        };
        let found = minimise(vec![-1.2, 1.0, -1.2, 1.0, -1.2, 1.0], 1e-8, 500, rosenbrock);
        assert!(found.converged && found.iterations < 100, "{found:?}");
        assert!(found.point.at.iter().all(|x| (x - 1.0).abs() < 1e-7), "{:?}", found.point.at);
        let stopped = minimise(vec![-1.2, 1.0], 1e-8, 3, rosenbrock);
        assert!(!stopped.converged && stopped.iterations == 3);
    }

    #[test]
    fn a_quadratic_takes_as_many_steps_as_it_has_scales() {
        let scales = [1.0, 10.0, 1000.0];
        let bowl = |x: &[f64]| {
            let value: f64 = x.iter().zip(scales).map(|(x, scale)| scale * x * x / 2.0).sum();
            (value, x.iter().zip(scales).map(|(x, scale)| scale * x).collect())
        };
        let found = minimise(vec![3.0, -2.0, 1.0], 1e-9, 100, bowl);
        assert!(found.converged && found.iterations < 30, "{}", found.iterations);
    }

    #[test]
    fn a_cubic_has_its_minimum_between_the_slopes() {
        // x³ − 3x has its minimum at 1.
        let (y, s) = (|x: f64| x * x * x - 3.0 * x, |x: f64| 3.0 * x * x - 3.0);
        for (a, b) in [(0.0, 2.0), (2.0, 0.0), (0.5, 3.0)] {
            assert!((cubic((a, y(a), s(a)), (b, y(b), s(b))) - 1.0).abs() < 1e-12, "{a} {b}");
        }
    }
}
