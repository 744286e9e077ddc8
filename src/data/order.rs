//! In which order the samples of a collection come.

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

/// The permutation of the epoch that positions are being taken from.
pub(super) struct EpochOrder {
    seed: u64,
    epoch: u64,
    order: Vec<u32>,
}

impl EpochOrder {
    /// The order of `len` samples, at least 1, from epoch 0 on.
    pub(super) fn new(seed: u64, len: usize) -> EpochOrder {
        EpochOrder { seed, epoch: 0, order: permutation(seed, 0, len) }
    }

    /// The epoch and the sample's number at a position of the endless sequence.
    pub(super) fn sample(&mut self, position: u64) -> (u64, usize) {
        let len = self.order.len() as u64;
        let epoch = position / len;
        if epoch != self.epoch {
            *self = EpochOrder { seed: self.seed, epoch, order: permutation(self.seed, epoch, self.order.len()) };
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
        let mut steady = EpochOrder::new(9, 7);
        let steadily: Vec<(u64, usize)> = (0..40).map(|position| steady.sample(position)).collect();
        let jumps: Vec<(u64, usize)> = (0..40).map(|position| EpochOrder::new(9, 7).sample(position)).collect();
        assert_eq!(steadily, jumps);
        assert_eq!(steadily[39], (5, permutation(9, 5, 7)[4] as usize));
    }
}
