//! Mixup (Zhang, Cisse, Dauphin and Lopez-Paz, 2018) and cutmix (Yun and others, 2019) of the images of an update, and the
//! targets that go with them: timm 0.3's `Mixup` in its mode `batch`.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::rng::{Rng, Stream};

/// How the images of an update are mixed with each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mixing {
    /// The share of an image in mixup is drawn from Beta(mixup, mixup); 0 for no mixup.
    pub mixup: f64,
    /// The share of an image in cutmix is drawn from Beta(cutmix, cutmix); 0 for no cutmix.
    pub cutmix: f64,
    /// How often images are mixed at all, 0 to 1 (timm's `mixup_prob`).
    pub probability: f64,
    /// How often by cutmix where both are on, 0 to 1 (timm's `mixup_switch_prob`).
    pub switch: f64,
    /// Parts of the batch that are drawn for and mixed by themselves, at least 1. The published runs draw for each GPU's
    /// part of the batch.
    pub mix_groups: usize,
}

impl Default for Mixing {
    /// What BootMAE, BEiT and MAE fine-tune with.
    fn default() -> Mixing {
        Mixing { mixup: 0.8, cutmix: 1.0, probability: 1.0, switch: 0.5, mix_groups: 1 }
    }
}

/// How a group of images is mixed: image i of n with image n − 1 − i.
#[derive(Clone, Debug, PartialEq)]
pub enum Mix {
    /// Not at all.
    None,
    /// By a weighted sum: this share of the image, the rest of its partner.
    Sum(f64),
    /// By a rectangle that is taken from the partner. It may be empty.
    Cut {
        /// Its rows.
        rows: Range<usize>,
        /// Its columns.
        columns: Range<usize>,
    },
}

impl Mix {
    /// Cutmix for a share `lambda` of images of `height`×`width` pixels: the rectangle about a centre has √(1 − lambda) of
    /// both sides, less a pixel where that is odd, and is cut off at the edges.
    pub fn cut(lambda: f64, height: usize, width: usize, (row, column): (usize, usize)) -> Mix {
        let ratio = libm::sqrt(1.0 - lambda);
        let range = |size: usize, centre: usize| {
            let half = (size as f64 * ratio) as usize / 2;
            centre.saturating_sub(half)..(centre + half).min(size)
        };
        Mix::Cut { rows: range(height, row), columns: range(width, column) }
    }

    /// The share that an image keeps of `height`×`width` pixels of its own, which its target keeps too.
    pub fn share(&self, height: usize, width: usize) -> f64 {
        match self {
            Mix::None => 1.0,
            Mix::Sum(share) => *share,
            Mix::Cut { rows, columns } => 1.0 - (rows.len() * columns.len()) as f64 / (height * width) as f64,
        }
    }
}

impl Mixing {
    /// Refuses, in words, numbers that mean nothing.
    pub fn check(&self) -> Result<(), String> {
        for (name, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if !(0.0..=1e6).contains(&alpha) {
                return Err(format!("{name} must be 0 (off) to 1000000, not {alpha}"));
            }
        }
        for (name, probability) in [("probability", self.probability), ("switch", self.switch)] {
            if !(0.0..=1.0).contains(&probability) {
                return Err(format!("the {name} of mixing must be 0 to 1, not {probability}"));
            }
        }
        match self.mix_groups {
            0 => Err("mix_groups must be at least 1".into()),
            _ => Ok(()),
        }
    }

    /// How a group of images of `height`×`width` pixels is mixed in a step: a function of these numbers alone.
    pub fn draw(&self, seed: u64, step: u64, group: usize, height: usize, width: usize) -> Mix {
        let mut rng = Rng::new(seed, Stream::Mix, step, group as u64);
        if rng.uniform() >= self.probability {
            return Mix::None;
        }
        let cuts = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (true, true) => rng.uniform() < self.switch,
            (false, false) => return Mix::None,
            (_, cutmix) => cutmix,
        };
        match cuts {
            false => Mix::Sum(rng.beta(self.mixup)),
            true => {
                let lambda = rng.beta(self.cutmix);
                Mix::cut(lambda, height, width, (rng.below(height), rng.below(width)))
            }
        }
    }

    /// Mixes the images of an update, `[images, channels, height, width]`, in place, and returns their targets, `[images,
    /// classes]`: see [`mix`] and [`soft_targets`]. Groups are even parts of the batch, one after the other. It is to be
    /// done before the batch is cut into micro-batches, so that their number changes nothing.
    ///
    /// # Panics
    /// When the images are not as many as the labels or a label is not below `classes`.
    #[expect(clippy::too_many_arguments, reason = "a batch, its shape, and what its draw depends on")]
    pub fn apply(
        &self,
        images: &mut [f32],
        (height, width): (usize, usize),
        labels: &[u32],
        classes: usize,
        smoothing: f64,
        seed: u64,
        step: u64,
    ) -> Vec<f32> {
        let values = images.len() / labels.len().max(1);
        assert_eq!(values * labels.len(), images.len(), "images are as many as labels");
        let mut targets = Vec::with_capacity(labels.len() * classes);
        let edge = |group: usize| group * labels.len() / self.mix_groups;
        for group in 0..self.mix_groups {
            let part = edge(group)..edge(group + 1);
            let drawn = self.draw(seed, step, group, height, width);
            mix(&mut images[part.start * values..part.end * values], part.len(), (height, width), &drawn);
            targets.extend(soft_targets(&labels[part], classes, smoothing, drawn.share(height, width)));
        }
        targets
    }
}

/// Mixes `count` images, `[count, channels, height, width]`, image i with image count − 1 − i, in place. The one in the
/// middle of an odd number is its own partner and stays.
pub fn mix(images: &mut [f32], count: usize, (height, width): (usize, usize), how: &Mix) {
    let values = images.len() / count.max(1);
    let (front, back) = images.split_at_mut(count / 2 * values);
    let partners = back.rchunks_exact_mut(values.max(1));
    for (image, partner) in front.chunks_exact_mut(values.max(1)).zip(partners) {
        match how {
            Mix::None => {}
            Mix::Sum(share) => {
                let (own, other) = (*share as f32, (1.0 - share) as f32);
                for (a, b) in image.iter_mut().zip(partner) {
                    (*a, *b) = (*a * own + *b * other, *b * own + *a * other);
                }
            }
            Mix::Cut { rows, columns } => {
                let planes = image.chunks_exact_mut(height * width).zip(partner.chunks_exact_mut(height * width));
                for (plane, other) in planes {
                    for row in rows.clone() {
                        let line = row * width + columns.start..row * width + columns.end;
                        plane[line.clone()].swap_with_slice(&mut other[line]);
                    }
                }
            }
        }
    }
}

/// Targets of a group of images, `[labels, classes]`: smoothing / classes everywhere and 1 − smoothing more at the label;
/// `share` of that and the rest of the partner's.
///
/// # Panics
/// When a label is not below `classes`.
pub fn soft_targets(labels: &[u32], classes: usize, smoothing: f64, share: f64) -> Vec<f32> {
    assert!(labels.iter().all(|label| (*label as usize) < classes), "a label is one of {classes} classes");
    let row = |label: u32, partner: u32| {
        let hot = |class: usize, label: u32| if class == label as usize { 1.0 - smoothing } else { 0.0 };
        let other = smoothing / classes as f64;
        (0..classes).map(move |class| {
            let mixed = share * (hot(class, label) + other) + (1.0 - share) * (hot(class, partner) + other);
            mixed as f32
        })
    };
    labels.iter().zip(labels.iter().rev()).flat_map(|(label, partner)| row(*label, *partner)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_boxes_are_drawn_as_published() {
        let mixing = Mixing::default();
        let drawn: Vec<Mix> = (0..40_000).map(|step| mixing.draw(4, step, 0, 224, 224)).collect();
        let sums: Vec<f64> =
            drawn.iter().filter_map(|mix| if let Mix::Sum(share) = mix { Some(*share) } else { None }).collect();
        assert!(sums.len().abs_diff(20_000) < 500);
        let n = sums.len() as f64;
        let (mean, square) = (sums.iter().sum::<f64>() / n, sums.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / n);
        // Beta(0.8, 0.8).
        assert!((mean - 0.5).abs() < 0.01 && (square - 1.0 / 10.4).abs() < 0.002, "{mean} {square}");
        let cuts: Vec<&Mix> = drawn.iter().filter(|mix| matches!(mix, Mix::Cut { .. })).collect();
        assert_eq!(cuts.len() + sums.len(), 40_000);
        // A box that is not cut off has an area of U(0, 1); about a uniform centre, 1 − (1 − r/4)² of either side is seen.
        let seen = cuts.iter().map(|mix| 1.0 - mix.share(224, 224)).sum::<f64>() / cuts.len() as f64;
        let exact = (1..=1000).map(|i| f64::from(i) / 1000.0 - 0.0005).map(|u: f64| u * (1.0 - u.sqrt() / 4.0).powi(2));
        let exact = exact.sum::<f64>() / 1000.0;
        assert!((seen - exact).abs() < 0.01, "{seen} for {exact}");
        let some = |wanted: &dyn Fn(&Range<usize>, &Range<usize>) -> bool| {
            cuts.iter().any(|mix| matches!(mix, Mix::Cut { rows, columns } if wanted(rows, columns)))
        };
        assert!(some(&|rows, _| rows.start == 0 && rows.end < 9) && some(&|_, columns| columns.end == 224));
    }

    #[test]
    fn a_draw_depends_on_seed_step_and_group_and_can_be_switched_off() {
        let mixing = Mixing::default();
        let draw = |seed, step, group| mixing.draw(seed, step, group, 32, 32);
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        assert!(draw(1, 2, 3) != draw(2, 2, 3) && draw(1, 2, 3) != draw(1, 3, 3) && draw(1, 2, 3) != draw(1, 2, 4));
        let all =
            |mixing: Mixing, wanted: fn(&Mix) -> bool| (0..200).all(|step| wanted(&mixing.draw(0, step, 0, 8, 8)));
        assert!(all(Mixing { mixup: 0.0, cutmix: 0.0, ..mixing }, |mix| *mix == Mix::None));
        assert!(all(Mixing { probability: 0.0, ..mixing }, |mix| *mix == Mix::None));
        assert!(all(Mixing { mixup: 0.0, ..mixing }, |mix| matches!(mix, Mix::Cut { .. })));
        assert!(all(Mixing { cutmix: 0.0, ..mixing }, |mix| matches!(mix, Mix::Sum(_))));
    }

    #[test]
    fn groups_are_mixed_by_themselves_and_the_middle_stays() {
        let labels = [0, 1, 2, 0, 1, 2, 0];
        let start: Vec<f32> = (0..7 * 2 * 4 * 4).map(|at| (at * at % 97) as f32).collect();
        let mixing = Mixing { cutmix: 0.0, ..Mixing::default() };
        let mut images = start.clone();
        let targets = mixing.apply(&mut images, (4, 4), &labels, 3, 0.1, 5, 6);
        assert_eq!(images[3 * 32..4 * 32], start[3 * 32..4 * 32]);
        assert!((targets[9] - 0.9333333).abs() < 1e-6 && targets.len() == 21);

        let in_groups = Mixing { mix_groups: 2, ..mixing };
        let mut images = start.clone();
        let targets = in_groups.apply(&mut images, (4, 4), &labels, 3, 0.1, 5, 6);
        // Three images, then four.
        let (mut first, mut second) = (start[..3 * 32].to_vec(), start[3 * 32..].to_vec());
        let [a, b] = [0, 1].map(|group| mixing.draw(5, 6, group, 4, 4));
        mix(&mut first, 3, (4, 4), &a);
        mix(&mut second, 4, (4, 4), &b);
        assert_eq!(images, [first, second].concat());
        let expected =
            [soft_targets(&labels[..3], 3, 0.1, a.share(4, 4)), soft_targets(&labels[3..], 3, 0.1, b.share(4, 4))];
        assert_eq!(targets, expected.concat());
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused() {
        let mixing = Mixing::default();
        assert_eq!(mixing.check(), Ok(()));
        let refused = |mixing: Mixing| mixing.check().unwrap_err();
        assert!(refused(Mixing { mixup: -0.1, ..mixing }).contains("mixup must be 0 (off)"));
        assert!(refused(Mixing { cutmix: f64::NAN, ..mixing }).contains("cutmix"));
        assert!(refused(Mixing { switch: 1.5, ..mixing }).contains("switch of mixing must be 0 to 1, not 1.5"));
        assert!(refused(Mixing { mix_groups: 0, ..mixing }).contains("at least 1"));
    }
}
