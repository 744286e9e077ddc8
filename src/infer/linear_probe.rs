//! The published linear probe: BatchNorm without gain and bias, then Linear, trained by LARS on features that stay as
//! they are (You et al., 2017, as MAE and BootMAE have it). A step of 16,384 features of 768 values and 1000 classes is
//! some 50 GFLOP, little beside what it takes to compute the features, so it is the processor's.

use super::{
    accuracy::Answer,
    products::{BLOCK, View, in_parallel, multiply, sum_over},
    sets::Sets,
};
use crate::{
    nn::{Init, Param},
    rng::{Rng, Stream},
    train::schedule::rate_at_epoch,
};

/// Added to the variance. PyTorch's default is 1e-5.
const EPS: f64 = 1e-6;
/// What running values keep of themselves, and the momentum of gradients.
const KEPT: f64 = 0.9;
/// How long a step of the weights is, as a share of their length: the trust coefficient.
const TRUST: f64 = 0.001;

/// A probe and the state of its training.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearProbe {
    /// Weights `[classes, width]`.
    pub weights: Vec<f64>,
    /// Bias of each class.
    pub bias: Vec<f64>,
    /// Momentum of the weights.
    pub weights_momentum: Vec<f64>,
    /// Momentum of the biases.
    pub bias_momentum: Vec<f64>,
    /// Running mean of each value of the features.
    pub mean: Vec<f64>,
    /// Running variance of each, unbiased.
    pub variance: Vec<f64>,
    /// Weight decay, added to the gradient of the weights; 0 as published.
    pub weight_decay: f64,
}

/// Features `[count, width]` normalised by their own mean and variance, the biased one.
struct Normalised {
    values: Vec<f32>,
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl LinearProbe {
    /// A probe of `width` values for so many classes: weights normal with deviation 0.01, by the seed; biases 0.
    pub fn new(classes: usize, width: usize, seed: u64) -> LinearProbe {
        let weights = Param::new("head.weight", &[classes, width], Init::Normal(0.01), true).initial(seed);
        LinearProbe {
            weights: weights.into_iter().map(f64::from).collect(),
            bias: vec![0.0; classes],
            weights_momentum: vec![0.0; classes * width],
            bias_momentum: vec![0.0; classes],
            mean: vec![0.0; width],
            variance: vec![1.0; width],
            weight_decay: 0.0,
        }
    }

    /// One update by features `[count, width]` and the class of each, at a learning rate; the mean cross-entropy before
    /// it. Micro-batches of `micro_batch` features are normalised each by itself and move the running values one after
    /// another, as GPUs and passes do whose gradients are averaged.
    ///
    /// # Panics
    /// When features and classes do not fit each other, are no whole micro-batches, or these are of one feature.
    pub fn step(&mut self, features: &[f32], classes: &[u32], micro_batch: usize, rate: f64) -> f64 {
        let (width, count, rows) = (self.mean.len(), self.bias.len(), classes.len());
        assert!(rows > 0 && features.len() == rows * width, "a class for each of the features");
        assert!(micro_batch > 1 && rows.is_multiple_of(micro_batch), "whole micro-batches, of two or more");
        let x = self.normalise(features, micro_batch);
        let weights = rounded(&self.weights);
        // Sums of the gradients of weights and biases, and of the loss.
        let sums = sum_over(rows, count * width + count + 1, |range, sums| {
            let x = &x[range.start * width..range.end * width];
            let mut slopes = self.scores(x, &weights);
            let (to_weights, rest) = sums.split_at_mut(count * width);
            let (to_bias, loss) = rest.split_at_mut(count);
            for (row, class) in slopes.chunks_mut(count).zip(&classes[range]) {
                loss[0] += cross_entropy(row, *class as usize);
                to_bias.iter_mut().zip(&*row).for_each(|(sum, slope)| *sum += f64::from(*slope));
            }
            let mut products = vec![0.0; count * width];
            multiply(View::new(&slopes, count).transposed(), View::new(x, width), false, &mut products);
            to_weights.iter_mut().zip(&products).for_each(|(sum, product)| *sum += f64::from(*product));
        });
        let mut means: Vec<f64> = sums.into_iter().map(|sum| sum / rows as f64).collect();
        let loss = means.pop().expect("the loss");
        let to_bias = means.split_off(count * width);
        means.iter_mut().zip(&self.weights).for_each(|(g, w)| *g += self.weight_decay * w);
        let (length, slope) = (norm(&self.weights), norm(&means));
        let trust = if length > 0.0 && slope > 0.0 { TRUST * length / slope } else { 1.0 };
        follow(&mut self.weights, &mut self.weights_momentum, &means, trust, rate);
        follow(&mut self.bias, &mut self.bias_momentum, &to_bias, 1.0, rate);
        loss
    }

    /// The logits `[count, classes]` of features `[count, width]`, normalised by the running values.
    ///
    /// # Panics
    /// When the features have another width.
    pub fn logits(&self, features: &[f32]) -> Vec<f32> {
        let width = self.mean.len();
        assert!(features.len().is_multiple_of(width), "features of {width} values");
        let (weights, blocks): (_, Vec<_>) = (rounded(&self.weights), features.chunks(BLOCK * width).collect());
        let logits =
            in_parallel(blocks.len(), |n| self.scores(&normalised(blocks[n], &self.mean, &self.variance), &weights));
        logits.concat()
    }

    /// Normalises micro-batches, and moves the running values by those of each.
    fn normalise(&mut self, features: &[f32], micro_batch: usize) -> Vec<f32> {
        let width = self.mean.len();
        let parts: Vec<_> = features.chunks(micro_batch * width).collect();
        let mut all = Vec::with_capacity(features.len());
        let unbiased = micro_batch as f64 / (micro_batch - 1) as f64;
        for part in in_parallel(parts.len(), |number| Normalised::new(parts[number], width)) {
            all.extend(part.values);
            let follow = |(held, new): (&mut f64, f64)| *held = KEPT * *held + (1.0 - KEPT) * new;
            self.mean.iter_mut().zip(part.mean).for_each(follow);
            self.variance.iter_mut().zip(part.variance.into_iter().map(|v| v * unbiased)).for_each(follow);
        }
        all
    }

    /// The logits of normalised features.
    fn scores(&self, x: &[f32], weights: &[f32]) -> Vec<f32> {
        let width = self.mean.len();
        let mut scores = rounded(&self.bias).repeat(x.len() / width);
        multiply(View::new(x, width), View::new(weights, width).transposed(), true, &mut scores);
        scores
    }
}

impl Normalised {
    fn new(features: &[f32], width: usize) -> Normalised {
        let rows = (features.len() / width) as f64;
        let over_rows = |term: &dyn Fn(usize, f64) -> f64| {
            let mut sums = vec![0.0; width];
            for row in features.chunks(width) {
                sums.iter_mut().zip(row).enumerate().for_each(|(c, (sum, v))| *sum += term(c, f64::from(*v)));
            }
            sums.iter_mut().for_each(|sum| *sum /= rows);
            sums
        };
        let mean = over_rows(&|_, v| v);
        let variance = over_rows(&|c, v| (v - mean[c]).powi(2));
        Normalised { values: normalised(features, &mean, &variance), mean, variance }
    }
}

/// `(x − mean) / sqrt(variance + eps)`.
fn normalised(features: &[f32], mean: &[f64], variance: &[f64]) -> Vec<f32> {
    let scale: Vec<f64> = variance.iter().map(|v| 1.0 / (v + EPS).sqrt()).collect();
    let of_row = |row| {
        let values = Iterator::zip(<[f32]>::iter(row), mean).zip(&scale);
        values.map(|((v, mean), scale)| ((f64::from(*v) - mean) * scale) as f32)
    };
    features.chunks(mean.len()).flat_map(of_row).collect()
}

/// The cross-entropy of a row of logits, which become its gradient: softmax less one for the class.
fn cross_entropy(row: &mut [f32], class: usize) -> f64 {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let below = f64::from(most - row[class]);
    row.iter_mut().for_each(|z| *z = (*z - most).exp());
    let sum: f64 = row.iter().map(|v| f64::from(*v)).sum();
    row.iter_mut().for_each(|v| *v = (f64::from(*v) / sum) as f32);
    row[class] -= 1.0;
    below + sum.ln()
}

/// `momentum ← 0.9 momentum + trust · gradient; w ← w − rate · momentum`.
fn follow(w: &mut [f64], momentum: &mut [f64], gradient: &[f64], trust: f64, rate: f64) {
    for ((w, m), g) in w.iter_mut().zip(momentum).zip(gradient) {
        *m = KEPT * *m + trust * g;
        *w -= rate * *m;
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn rounded(values: &[f64]) -> Vec<f32> {
    values.iter().map(|v| *v as f32).collect()
}

/// How a probe is trained: MAE's and BootMAE's settings by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Passes over the features.
    pub epochs: usize,
    /// Passes of linear warm-up.
    pub warmup_epochs: usize,
    /// Features of an update; the last incomplete one of an epoch is left out.
    pub batch: usize,
    /// Features that are normalised together.
    pub micro_batch: usize,
    /// The highest learning rate is this × batch / 256.
    pub base_rate: f64,
    /// Decides the first weights and the order of the features.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe { epochs: 90, warmup_epochs: 10, batch: 16_384, micro_batch: 1024, base_rate: 0.1, seed: 0 }
    }
}

impl Recipe {
    /// The same where there are fewer features than a batch has: one update an epoch.
    pub fn within(self, features: usize) -> Recipe {
        let micro_batch = self.micro_batch.min(self.batch).min(features).max(2);
        let batch = (self.batch.min(features) / micro_batch * micro_batch).max(micro_batch);
        Recipe { micro_batch, batch, ..self }
    }
}

/// Trains a probe and tests it after every epoch: the answers after the last one, and the best top-1 with its epoch, which
/// papers report.
///
/// # Panics
/// When there are fewer than two features, or the recipe is not [`Recipe::within`] their number.
pub fn trained(sets: &Sets, recipe: Recipe, mut on_epoch: impl FnMut(usize, f64)) -> (Vec<Answer>, (f64, usize)) {
    let Recipe { epochs, warmup_epochs, batch, micro_batch, base_rate, seed } = recipe;
    let mut probe = LinearProbe::new(sets.classes.len(), sets.width, seed);
    let (steps, peak) = (sets.train.len() / batch, base_rate * batch as f64 / 256.0);
    let (mut answers, mut best) = (Vec::new(), (0.0, 0));
    for epoch in 0..epochs {
        let mut order: Vec<u32> = (0..sets.train.len() as u32).collect();
        Rng::new(seed, Stream::Shuffle, epoch as u64, 0).shuffle(&mut order);
        for (step, images) in order.chunks_exact(batch).enumerate() {
            let part = sets.train.some(sets.width, images);
            let at = epoch as f64 + step as f64 / steps as f64;
            let rate = rate_at_epoch(at, warmup_epochs as f64, epochs as f64, peak, 0.0);
            probe.step(&part.values, &part.classes, micro_batch, rate);
        }
        let logits = probe.logits(&sets.test.values);
        let rows = logits.chunks(sets.classes.len()).zip(&sets.test.classes);
        answers = rows.map(|(row, class)| Answer::of(row.iter().map(|z| f64::from(*z)), *class)).collect();
        let right = answers.iter().filter(|answer| answer.rank == 0).count() as f64 / answers.len() as f64;
        if right > best.0 {
            best = (right, epoch + 1);
        }
        on_epoch(epoch + 1, right);
    }
    (answers, best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::sets::Set;

    #[test]
    fn a_probe_learns_classes_that_stand_apart_and_is_tested_every_epoch() {
        let set = |from: u32| {
            let classes: Vec<u32> = (0..64).map(|n| (from + n) % 4).collect();
            let value = |class: u32, at: u32| if at == class { 1.0 } else { 0.0 };
            let values = classes.iter().flat_map(|class| (0..4).map(|at| value(*class, at))).collect();
            Set { values, classes }
        };
        let classes = ["a", "b", "c", "d"].map(String::from).to_vec();
        let sets = Sets { classes, width: 4, train: set(0), test: set(1), ..Sets::default() };
        // LARS moves weights by a thousandth of their length: it takes a few hundred steps.
        let recipe = Recipe { epochs: 400, warmup_epochs: 20, base_rate: 4.0, ..Recipe::default() }.within(64);
        assert_eq!((recipe.batch, recipe.micro_batch), (64, 64));
        let mut told = 0;
        let (answers, best) = trained(&sets, recipe, |_, _| told += 1);
        assert_eq!((answers.len(), told), (64, 400));
        assert!(best.0 == 1.0 && best.1 > 1, "{best:?}");
        assert_eq!(Recipe::default().within(50_000), Recipe::default());
        assert_eq!(Recipe::default().within(3000).batch, 2048);
    }

    #[test]
    fn micro_batches_normalise_by_themselves_and_a_weight_without_gradient_decays_by_the_trust() {
        let of = |weight_decay| LinearProbe { weight_decay, ..LinearProbe::new(3, 2, 1) };
        // Alike within a micro-batch, so that each is normalised to zeros; together they would not be.
        let features = [[1.0f32, 5.0], [1.0, 5.0], [3.0, 4.0], [3.0, 4.0]].concat();
        for (decay, kept) in [(0.0, 1.0), (0.5, 1.0 - 2.0 * TRUST)] {
            let (before, mut probe) = (of(decay), of(decay));
            probe.step(&features, &[0, 1, 2, 0], 2, 2.0);
            let close = |got: &[f64], want: &[f64]| got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12);
            assert!(close(&probe.mean, &[0.9 * 0.1 + 0.3, 0.9 * 0.5 + 0.4]), "{:?}", probe.mean);
            assert!(close(&probe.variance, &[0.81; 2]), "{:?}", probe.variance);
            let want: Vec<f64> = before.weights.iter().map(|w| w * kept).collect();
            assert!(close(&probe.weights, &want), "{:?} is not {want:?}", probe.weights);
            assert!(probe.bias.iter().all(|b| *b != 0.0));
        }
    }

    /// More blocks than one, on however many processors.
    #[test]
    fn a_probe_learns_to_tell_two_clouds_apart() {
        let mut probe = LinearProbe::new(2, 5, 3);
        let class = |index: usize| (index * 7 % 3 % 2) as u32;
        let value =
            |index: usize, c: usize| ((index * 31 + c * 17) % 23) as f32 / 23.0 + class(index) as f32 * c as f32;
        let features: Vec<f32> = (0..600).flat_map(|index| (0..5).map(move |c| value(index, c))).collect();
        let classes: Vec<u32> = (0..600).map(class).collect();
        let first = probe.step(&features, &classes, 300, 4.0);
        let last = (0..100).map(|_| probe.step(&features, &classes, 300, 4.0)).last().expect("a step");
        assert!(first > 0.6 && last < 0.4, "{first}, {last}");
        let right = |(row, class): &(&[f32], &u32)| (row[1] > row[0]) == (**class == 1);
        let right = probe.logits(&features).chunks(2).zip(&classes).filter(right).count();
        assert!(right > 590, "{right} of 600");
    }
}
