//! Multinomial logistic regression: the least sum of cross-entropies plus ‖W‖² / (2C), which is strictly convex in W, so that
//! every solver finds the same. `C` is scikit-learn's; the bias is not penalised and has mean 0.
//!
//! L-BFGS runs on V with W = V L⁻¹, where L Lᵀ = S / K + 1 / (C N) and S = XᵀX / N: about the curvature of the objective. The
//! features of a network are so strongly correlated that without this it stops half a point of accuracy short. Products of
//! features and weights are in f32, everything else is in f64.

use super::{Linear, cholesky::InverseFactor, lbfgs, linear::gram};
use crate::infer::products::{View, multiply, sum_over};

/// Where the largest entry of the gradient of objective / N ends the search.
const TOLERANCE: f64 = 1e-6;

/// What is added to the curvature at least, as a share of that of one feature: without it the factor of features that
/// depend on each other would be rounding. Where it is more than the penalty, only the way to the optimum is another.
const LEAST: f64 = 1e-7;

/// Steps at most.
const MOST_STEPS: usize = 2000;

/// A solved problem.
#[derive(Clone, Debug)]
pub struct Solved {
    /// Weights and bias.
    pub model: Linear,
    /// The sum of cross-entropies plus the penalty.
    pub objective: f64,
    /// Steps of the solver.
    pub iterations: usize,
    /// Whether it came to the end.
    pub converged: bool,
}

/// Standardised features `[images, width]` with the class of each, to be solved for several values of C.
#[derive(Debug)]
pub struct Problem<'a> {
    values: &'a [f32],
    classes: &'a [u32],
    width: usize,
    count: usize,
    /// XᵀX / N.
    covariance: Vec<f64>,
}

impl<'a> Problem<'a> {
    /// Features, their classes, the values of a feature and the number of classes.
    pub fn new(values: &'a [f32], classes: &'a [u32], width: usize, count: usize) -> Problem<'a> {
        let mut covariance = gram(values, width);
        covariance.iter_mut().for_each(|value| *value /= classes.len() as f64);
        Problem { values, classes, width, count, covariance }
    }

    /// The optimum for C, searched from `start` on, or from zero.
    pub fn solve(&self, c: f64, start: Option<&Linear>) -> Solved {
        let (n, d, k) = (self.classes.len() as f64, self.width, self.count);
        let mut curvature: Vec<f64> = self.covariance.iter().map(|value| value / k as f64).collect();
        let penalty = (1.0 / (c * n)).max(LEAST / k as f64);
        curvature.iter_mut().step_by(d + 1).for_each(|value| *value += penalty);
        let factor = InverseFactor::of(curvature, d).expect("the penalty makes it positive definite");
        // The bias by its curvature too, which is 1 / K.
        let scale = (k as f64).sqrt();
        let start = start.map_or_else(
            || vec![0.0; k * (d + 1)],
            |start| {
                let mut from = factor.undone(&start.weights);
                from.extend(start.bias.iter().map(|b| b / scale));
                from
            },
        );
        let weights_of = |at: &[f64]| factor.times(&at[..k * d]);
        let bias_of = |at: &[f64]| at[k * d..].iter().map(|b| b * scale).collect::<Vec<f64>>();
        let found = lbfgs::minimise(start, TOLERANCE, MOST_STEPS, |at| {
            let weights = weights_of(at);
            let (loss, mut gradient, of_bias) = self.cross_entropy(&weights, &bias_of(at));
            let square: f64 = weights.iter().map(|w| w * w).sum();
            gradient.iter_mut().zip(&weights).for_each(|(g, w)| *g += w / (c * n));
            let mut gradient = factor.times_transposed(&gradient);
            gradient.extend(of_bias.iter().map(|g| g * scale));
            (loss + square / (2.0 * c * n), gradient)
        });
        let at = &found.point.at;
        let mut bias = bias_of(at);
        let mean = bias.iter().sum::<f64>() / k as f64;
        bias.iter_mut().for_each(|b| *b -= mean);
        Solved {
            model: Linear { weights: weights_of(at), bias },
            objective: found.point.value * n,
            iterations: found.iterations,
            converged: found.converged,
        }
    }

    /// The mean cross-entropy with weights `[classes, width]`, and its gradient by weights and bias.
    fn cross_entropy(&self, weights: &[f64], bias: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
        let (d, k) = (self.width, self.count);
        let rounded: Vec<f32> = weights.iter().map(|w| *w as f32).collect();
        let sums = sum_over(self.classes.len(), 1 + k + k * d, |rows, sums| {
            let values = View::new(&self.values[rows.start * d..rows.end * d], d);
            let mut scores = vec![0.0f32; rows.len() * k];
            multiply(values, View::new(&rounded, d).transposed(), false, &mut scores);
            let (head, of_weights) = sums.split_at_mut(1 + k);
            let (loss, of_bias) = head.split_at_mut(1);
            let mut shares = vec![0.0f64; k];
            for (row, class) in scores.chunks_mut(k).zip(&self.classes[rows]) {
                shares.iter_mut().zip(row.iter().zip(bias)).for_each(|(to, (score, b))| *to = f64::from(*score) + b);
                let highest = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let own = shares[*class as usize];
                let mut sum = 0.0;
                for share in &mut shares {
                    *share = (*share - highest).exp();
                    sum += *share;
                }
                loss[0] += sum.ln() + highest - own;
                shares.iter_mut().for_each(|share| *share /= sum);
                shares[*class as usize] -= 1.0;
                of_bias.iter_mut().zip(&shares).for_each(|(to, share)| *to += share);
                row.iter_mut().zip(&shares).for_each(|(to, share)| *to = *share as f32);
            }
            let mut gradient = vec![0.0f32; k * d];
            multiply(View::new(&scores, k).transposed(), values, false, &mut gradient);
            of_weights.iter_mut().zip(gradient).for_each(|(to, value)| *to += f64::from(value));
        });
        let n = self.classes.len() as f64;
        let part = |range: std::ops::Range<usize>| sums[range].iter().map(|sum| sum / n).collect();
        (sums[0] / n, part(1 + k..sums.len()), part(1..1 + k))
    }
}
