//! Least squares on one-hot targets with a penalty λ‖W‖²: W = (XᵀX + λ)⁻¹ XᵀY of centred features and targets, so that the
//! bias is not penalised.

use super::{Linear, cholesky::InverseFactor, linear::gram};
use crate::infer::products::sum_over;

/// Standardised features `[images, width]` with the class of each, to be solved for several λ.
#[derive(Debug)]
pub struct Problem {
    width: usize,
    /// The means of features and targets.
    means: (Vec<f64>, Vec<f64>),
    /// XᵀX and YᵀX, centred.
    squares: Vec<f64>,
    products: Vec<f64>,
}

impl Problem {
    /// Features, their classes, the values of a feature and the number of classes.
    pub fn new(values: &[f32], classes: &[u32], width: usize, count: usize) -> Problem {
        let n = classes.len() as f64;
        // The sums of the features of each class, and how many images it has.
        let sums = sum_over(classes.len(), count * (width + 1), |rows, sums| {
            for index in rows {
                let (row, to) = (&values[index * width..][..width], classes[index] as usize * (width + 1));
                let sums = &mut sums[to..][..width + 1];
                sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v));
                sums[width] += 1.0;
            }
        });
        let of_classes = || sums.chunks(width + 1);
        let of_features: Vec<f64> = (0..width).map(|at| of_classes().map(|sums| sums[at]).sum::<f64>() / n).collect();
        let of_targets: Vec<f64> = of_classes().map(|sums| sums[width] / n).collect();
        let mut squares = gram(values, width);
        for (row, own) in squares.chunks_mut(width).zip(&of_features) {
            row.iter_mut().zip(&of_features).for_each(|(square, other)| *square -= n * own * other);
        }
        let centred = |sums: &[f64]| -> Vec<f64> {
            sums[..width].iter().zip(&of_features).map(|(sum, mean)| sum - sums[width] * mean).collect()
        };
        let products = of_classes().flat_map(centred).collect();
        Problem { width, means: (of_features, of_targets), squares, products }
    }

    /// The optimum for a λ above 0; none where λ is so small that XᵀX + λ is singular to rounding.
    pub fn solve(&self, lambda: f64) -> Option<Linear> {
        let mut squares = self.squares.clone();
        squares.iter_mut().step_by(self.width + 1).for_each(|value| *value += lambda);
        let factor = InverseFactor::of(squares, self.width)?;
        let weights = factor.times(&factor.times_transposed(&self.products));
        let of_mean = |row: &[f64]| row.iter().zip(&self.means.0).map(|(w, mean)| w * mean).sum::<f64>();
        let bias = weights.chunks(self.width).zip(&self.means.1).map(|(row, mean)| mean - of_mean(row)).collect();
        Some(Linear { weights, bias })
    }
}
