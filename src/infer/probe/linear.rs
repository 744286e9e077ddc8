//! What both probes share: standardised features, and a linear classifier.

use crate::infer::{
    accuracy::Answer,
    products::{BLOCK, View, in_parallel, multiply, sum_over},
};

/// Weights `[classes, width]` and a bias for each class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Linear {
    /// The weights, class by class.
    pub weights: Vec<f64>,
    /// The biases.
    pub bias: Vec<f64>,
}

impl Linear {
    /// The scores of all classes, `[images, classes]`, for features `[images, width]`.
    pub fn scores(&self, values: &[f32]) -> Vec<f64> {
        let count = self.bias.len();
        let width = self.weights.len() / count;
        let score = |row: &[f32], class: usize| {
            let weights = &self.weights[class * width..][..width];
            row.iter().zip(weights).map(|(v, w)| f64::from(*v) * w).sum::<f64>() + self.bias[class]
        };
        values.chunks(width).flat_map(|row| (0..count).map(move |class| score(row, class))).collect()
    }

    /// The answers for standardised features `[images, width]` of these classes.
    pub fn answers(&self, values: &[f32], classes: &[u32]) -> Vec<Answer> {
        let count = self.bias.len();
        let width = self.weights.len() / count;
        let weights: Vec<f32> = self.weights.iter().map(|w| *w as f32).collect();
        let blocks: Vec<_> = values.chunks(BLOCK * width).zip(classes.chunks(BLOCK)).collect();
        let answers = in_parallel(blocks.len(), |number| {
            let (values, classes) = blocks[number];
            let mut scores = vec![0.0f32; classes.len() * count];
            multiply(View::new(values, width), View::new(&weights, width).transposed(), false, &mut scores);
            let rows = scores.chunks(count).zip(classes);
            let score = |row: &[f32]| row.iter().zip(&self.bias).map(|(s, b)| f64::from(*s) + b).collect::<Vec<_>>();
            rows.map(|(row, class)| Answer::of(score(row).iter().copied(), *class)).collect::<Vec<_>>()
        });
        answers.into_iter().flatten().collect()
    }
}

/// Means and deviations of features to train on: others are standardised by these too.
#[derive(Clone, Debug)]
pub struct Scale {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Scale {
    /// Of features `[images, width]`. The deviation is divided by their number, and 1 where all values are the same.
    pub fn of(values: &[f32], width: usize) -> Scale {
        let rows = values.len() / width;
        let row = |index: usize| &values[index * width..][..width];
        let mean: Vec<f64> = sum_over(rows, width, |range, sums| {
            range.for_each(|index| sums.iter_mut().zip(row(index)).for_each(|(sum, v)| *sum += f64::from(*v)));
        });
        let mean: Vec<f64> = mean.into_iter().map(|sum| sum / rows as f64).collect();
        let squares = sum_over(rows, width, |range, sums| {
            let add = |((sum, v), mean): ((&mut f64, &f32), &f64)| *sum += (f64::from(*v) - mean).powi(2);
            range.for_each(|index| sums.iter_mut().zip(row(index)).zip(&mean).for_each(add));
        });
        // Of equal values the mean may be off by rounding; the deviation is then no information.
        let varies = |column: usize| (1..rows).any(|index| row(index)[column] != row(0)[column]);
        let deviation = squares.into_iter().enumerate().map(|(column, sum)| match varies(column) {
            true => (sum / rows as f64).sqrt(),
            false => 1.0,
        });
        let deviation = deviation.collect();
        Scale { mean, deviation }
    }

    /// The classifier that says of features as they are what `linear` says of standardised ones.
    pub fn undone(&self, linear: &Linear) -> Linear {
        let width = self.mean.len();
        let weights = linear.weights.chunks(width).flat_map(|row| row.iter().zip(&self.deviation).map(|(w, d)| w / d));
        let weights: Vec<f64> = weights.collect();
        let shift = |row: &[f64]| row.iter().zip(&self.mean).map(|(w, mean)| w * mean).sum::<f64>();
        let bias = weights.chunks(width).zip(&linear.bias).map(|(row, bias)| bias - shift(row)).collect();
        Linear { weights, bias }
    }

    /// Features with mean 0 and deviation 1.
    pub fn standardised(&self, values: &[f32]) -> Vec<f32> {
        let width = self.mean.len();
        let of = |((v, mean), deviation): ((&f32, &f64), &f64)| ((f64::from(*v) - mean) / deviation) as f32;
        values.chunks(width).flat_map(|row| row.iter().zip(&self.mean).zip(&self.deviation).map(of)).collect()
    }
}

/// `XᵀX` of rows `[n, width]`: `[width, width]`.
pub(super) fn gram(values: &[f32], width: usize) -> Vec<f64> {
    sum_over(values.len() / width, width * width, |rows, sums| {
        let rows: Vec<f64> = values[rows.start * width..rows.end * width].iter().map(|v| f64::from(*v)).collect();
        let rows = View::new(&rows, width);
        multiply(rows.transposed(), rows, true, sums);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_get_mean_0_and_deviation_1_and_constant_ones_0() {
        let values: Vec<f32> = (0..600).flat_map(|n| [(n % 2) as f32 * 4.0 + 1.0, 0.1]).collect();
        let scale = Scale::of(&values, 2);
        assert_eq!((scale.mean[0], scale.deviation[0], scale.deviation[1]), (3.0, 2.0, 1.0));
        let standardised = scale.standardised(&values);
        assert!(standardised.chunks(2).enumerate().all(|(n, row)| row[0] == (n % 2) as f32 * 2.0 - 1.0));
        assert!(standardised.chunks(2).all(|row| row[1].abs() < 1e-6));
        let linear = Linear { weights: vec![1.0, -2.0, 0.5, 3.0], bias: vec![0.25, -1.0] };
        let (of_these, of_those) = (linear.scores(&standardised), scale.undone(&linear).scores(&values));
        assert!(of_these.iter().zip(&of_those).all(|(a, b)| (a - b).abs() < 1e-5), "{of_these:?} {of_those:?}");
    }
}
