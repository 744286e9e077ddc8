//! In which order the samples of a collection come.

use std::ops::Range;

use super::source::Locality;
use crate::rng::{Rng, Stream};

/// The order of the samples of an epoch: a uniformly random permutation of 0..len.
///
/// # Panics
/// When `len` does not fit 32 bits.
pub fn permutation(seed: u64, epoch: u64, len: usize) -> Vec<u32> {
    let len = u32::try_from(len).expect("a collection has fewer than 2³² images");
    let mut order: Vec<u32> = (0..len).collect();
    Rng::new(seed, Stream::Shuffle, epoch, 0).shuffle(&mut order);
    order
}

/// The order of an epoch of a collection whose images lie in runs: the runs in random order, then shuffled within
/// windows of it, each with a generator of its own. A collection of one window has the uniform order.
fn near_permutation(seed: u64, epoch: u64, len: usize, near: &Locality) -> Vec<u32> {
    if len <= near.window {
        return permutation(seed, epoch, len);
    }
    let mut start = 0;
    let mut runs: Vec<Range<u32>> = Vec::with_capacity(near.runs.len());
    for &run in &near.runs {
        runs.push(start..start + run as u32);
        start += run as u32;
    }
    assert_eq!(start as usize, len, "the runs hold all images");
    Rng::new(seed, Stream::Shuffle, epoch, 0).shuffle(&mut runs);
    let mut order: Vec<u32> = runs.into_iter().flatten().collect();
    for (number, window) in (1..).zip(order.chunks_mut(near.window.max(1))) {
        Rng::new(seed, Stream::Shuffle, epoch, number).shuffle(window);
    }
    if let Some(numbers) = &near.order {
        order.iter_mut().for_each(|place| *place = numbers[*place as usize]);
    }
    order
}

/// The order of the epoch that positions are being taken from.
pub(super) struct EpochOrder {
    seed: u64,
    epoch: u64,
    near: Option<Locality>,
    order: Vec<u32>,
}

impl EpochOrder {
    /// The order of `len` samples, at least 1 and fewer than 2³², from epoch 0 on.
    pub(super) fn new(seed: u64, len: usize, near: Option<Locality>) -> EpochOrder {
        let mut order = EpochOrder { seed, epoch: 0, near, order: Vec::new() };
        order.begin(0, len);
        order
    }

    fn begin(&mut self, epoch: u64, len: usize) {
        self.epoch = epoch;
        self.order = match &self.near {
            Some(near) => near_permutation(self.seed, epoch, len, near),
            None => permutation(self.seed, epoch, len),
        };
    }

    /// The epoch and the sample's number at a position of the endless sequence.
    pub(super) fn sample(&mut self, position: u64) -> (u64, usize) {
        let len = self.order.len() as u64;
        let epoch = position / len;
        if epoch != self.epoch {
            self.begin(epoch, len as usize);
        }
        (epoch, self.order[(position % len) as usize] as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_each_sample_once_and_changes_with_epoch_and_seed() {
        let mut sorted = permutation(9, 0, 1000);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1000));
        assert_ne!(permutation(9, 0, 1000), permutation(9, 1, 1000));
        assert_ne!(permutation(9, 0, 1000), permutation(8, 0, 1000));
    }

    #[test]
    fn a_position_has_the_same_sample_however_it_is_reached() {
        let mut steady = EpochOrder::new(9, 7, None);
        let steadily: Vec<(u64, usize)> = (0..40).map(|position| steady.sample(position)).collect();
        let jumps: Vec<(u64, usize)> = (0..40).map(|position| EpochOrder::new(9, 7, None).sample(position)).collect();
        assert_eq!(steadily, jumps);
        assert_eq!(steadily[39], (5, permutation(9, 5, 7)[4] as usize));
    }

    #[test]
    fn neighbours_stay_together_but_in_random_order() {
        let near = |window| Locality { runs: vec![50, 100, 70, 80, 100, 100], window, order: None };
        let order = near_permutation(9, 0, 500, &near(100));
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..500));
        assert_ne!(order, near_permutation(9, 1, 500, &near(100)));
        assert_eq!(order, near_permutation(9, 0, 500, &near(100)));
        // A window of 100 touches at most three of these runs, and no window is in order.
        let run = |sample: u32| [50, 150, 220, 300, 400, 500].iter().position(|&end| sample < end);
        for window in order.chunks(100) {
            let runs: std::collections::BTreeSet<_> = window.iter().map(|&sample| run(sample)).collect();
            assert!(runs.len() <= 3 && !window.is_sorted(), "{window:?}");
        }
        assert_eq!(near_permutation(9, 0, 500, &near(500)), permutation(9, 0, 500));
        // Images that lie backwards: their places come as before, under other numbers.
        let backwards = Locality { order: Some((0..500).rev().collect()), ..near(100) };
        let backwards = near_permutation(9, 0, 500, &backwards);
        assert!(backwards.iter().zip(&order).all(|(number, place)| *number == 499 - place));
        let mut steady = EpochOrder::new(9, 500, Some(near(100)));
        assert_eq!(steady.sample(500 + 17), (1, near_permutation(9, 1, 500, &near(100))[17] as usize));
    }
}
