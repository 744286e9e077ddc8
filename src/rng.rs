//! Random numbers that are a pure function of what they are for.
//!
//! A generator is named by a seed, a [`Stream`], an epoch and an index, and always yields the same numbers for the same
//! name. So the crop of a sample, its mask and its place in the epoch depend on the seed and the sample alone: not on
//! the number of threads, not on what was drawn before, and not on whether the run was interrupted. The generator is
//! Philox4x32-10 of Salmon, Moraes, Dror and Shaw, *Parallel random numbers: as easy as 1, 2, 3* (SC 2011). Its
//! numbers are the same on every platform.

/// What random numbers are drawn for. Two streams never share numbers. The numbers are part of what a seed means, so a
/// variant keeps its value for ever and a new one takes the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// The order of the samples of an epoch.
    Shuffle = 0,
    /// The crop and the flip of a sample.
    Augment = 1,
    /// The mask of a sample.
    Mask = 2,
    /// The rotation of the patch order that the samples of a batch share.
    Roll = 3,
    /// The first value of a weight.
    Init = 4,
    /// The image that stands in for an unreadable one.
    Replace = 5,
    /// Which branches of blocks an image does without.
    DropPath = 6,
}

/// A Philox4x32-10 generator with 2⁶⁶ numbers of 32 bits before it repeats.
#[derive(Clone, Debug)]
pub struct Rng {
    key: [u32; 2],
    index: u64,
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Rng {
    /// The generator of `stream` for item `index` of `epoch` under `seed`. The key is Philox of the stream and the
    /// epoch under the seed; the counter holds the index and the number of the block.
    pub fn new(seed: u64, stream: Stream, epoch: u64, index: u64) -> Rng {
        let [e0, e1] = halves(epoch);
        let [k0, k1, ..] = philox4x32_10([stream as u32, e0, e1, 0], halves(seed));
        Rng { key: [k0, k1], index, block: 0, words: [0; 4], used: 4 }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let ([b0, b1], [i0, i1]) = (halves(self.block), halves(self.index));
            self.words = philox4x32_10([b0, b1, i0, i1], self.key);
            self.block = self.block.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// The next 64 random bits, the low half first.
    pub fn next_u64(&mut self) -> u64 {
        let low = u64::from(self.next_u32());
        low | u64::from(self.next_u32()) << 32
    }

    /// A uniform number in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A uniform number from `a` towards `b`; `b` may be the smaller one.
    pub fn range(&mut self, a: f64, b: f64) -> f64 {
        a + (b - a) * self.uniform()
    }

    /// A whole number in 0..n, each equally likely (Lemire's multiplication with rejection).
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "no whole number lies below 0");
        let n = n as u64;
        let rejected = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= rejected {
                return (product >> 64) as usize;
            }
        }
    }

    /// A number from the normal distribution of mean 0 and standard deviation 1 (Box and Muller, the cosine only).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// Puts `items` into a uniformly random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The low and the high half of a 64-bit word.
fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

/// Philox4x32 with ten rounds: 128 bits of counter to 128 random bits.
fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        let ([a_low, a_high], [b_low, b_high]) = (halves(a), halves(b));
        counter = [b_high ^ counter[1] ^ key[0], b_low, a_high ^ counter[3] ^ key[1], a_low];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows `philox4x32 10` of Random123's `tests/kat_vectors`.
    #[test]
    fn philox_gives_the_published_known_answers() {
        let all = u32::MAX;
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let known = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([all; 4], [all; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ];
        for (counter, key, answer) in known {
            assert_eq!(philox4x32_10(counter, key), answer);
        }
    }

    #[test]
    fn a_generator_depends_on_seed_stream_epoch_and_index() {
        let first = |seed, stream, epoch, index| Rng::new(seed, stream, epoch, index).next_u64();
        let high = 1u64 << 40;
        let mut numbers = vec![first(1, Stream::Mask, 2, 3)];
        assert_eq!(numbers[0], first(1, Stream::Mask, 2, 3));
        numbers.push(first(2, Stream::Mask, 2, 3));
        numbers.push(first(1 + high, Stream::Mask, 2, 3));
        numbers.push(first(1, Stream::Augment, 2, 3));
        numbers.push(first(1, Stream::Mask, 3, 3));
        numbers.push(first(1, Stream::Mask, 2 + high, 3));
        numbers.push(first(1, Stream::Mask, 2, 4));
        numbers.push(first(1, Stream::Mask, 2, 3 + high));
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 8);
    }

    #[test]
    fn numbers_follow_their_distributions() {
        let mut rng = Rng::new(7, Stream::Init, 0, 0);
        let n = 200_000;
        let uniform: Vec<f64> = (0..n).map(|_| rng.uniform()).collect();
        assert!(uniform.iter().all(|u| (0.0..1.0).contains(u)));
        assert!((uniform.iter().sum::<f64>() / n as f64 - 0.5).abs() < 0.003);
        let normal: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let moment = |k: i32| normal.iter().map(|x| x.powi(k)).sum::<f64>() / n as f64;
        assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.02 && (moment(4) - 3.0).abs() < 0.15);
        let reversed: Vec<f64> = (0..1000).map(|_| rng.range(16.0, 3.0)).collect();
        assert!(reversed.iter().all(|x| (3.0..=16.0).contains(x)) && reversed.iter().any(|&x| x < 4.0));
    }

    #[test]
    fn below_is_uniform_and_reaches_every_number() {
        let mut rng = Rng::new(7, Stream::Shuffle, 0, 0);
        let mut counts = [0usize; 7];
        (0..70_000).for_each(|_| counts[rng.below(7)] += 1);
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{counts:?}");
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn shuffle_reaches_every_order_equally_often() {
        let mut rng = Rng::new(7, Stream::Shuffle, 1, 0);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            rng.shuffle(&mut items);
            *counts.entry(items).or_insert(0usize) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|count| count.abs_diff(1000) < 200), "{counts:?}");
    }
}
