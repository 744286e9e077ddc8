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
    /// The view of a sample: crop, flip, and what else is changed at random.
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
    /// How the images of a batch are mixed.
    Mix = 7,
    /// Which images an encoder is evaluated on.
    Evaluate = 8,
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

    /// Fills `values` with numbers from the normal distribution of mean 0 and standard deviation 1, of single precision
    /// (Box and Muller, cosine and sine).
    pub fn fill_normal(&mut self, values: &mut [f32]) {
        for pair in values.chunks_mut(2) {
            // (0, 1], finer towards 0, where the logarithm is large.
            let [a, b] =
                [self.next_u32(), self.next_u32()].map(|word| (word as f32 + 0.5) * (1.0 / (1u64 << 32) as f32));
            let radius = libm::sqrtf(-2.0 * libm::logf(a));
            let (sin, cos) = libm::sincosf(std::f32::consts::TAU * b);
            pair.iter_mut().zip([cos, sin]).for_each(|(value, of)| *value = radius * of);
        }
    }

    /// A number from 0 to 1 of the distribution Beta(`alpha`, `alpha`), as the share of the first of two of the gamma
    /// distribution. These come by Marsaglia and Tsang's method for alpha + 1 (*A simple method for generating gamma
    /// variables*, 2000), times U^(1/alpha); by logarithms, since both may be too small for numbers where alpha is small.
    ///
    /// # Panics
    /// When `alpha` is not above 0 and finite.
    pub fn beta(&mut self, alpha: f64) -> f64 {
        assert!(alpha > 0.0 && alpha.is_finite(), "there is no distribution Beta({alpha}, {alpha})");
        let (a, b) = (self.log_gamma(alpha), self.log_gamma(alpha));
        1.0 / (1.0 + libm::exp(b - a))
    }

    /// The logarithm of a number of the gamma distribution of shape `alpha`.
    fn log_gamma(&mut self, alpha: f64) -> f64 {
        let d = alpha + 1.0 - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = (1.0 + c * x) * (1.0 + c * x) * (1.0 + c * x);
            let u = 1.0 - self.uniform();
            if v > 0.0 && libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return libm::log(d * v) + libm::log(1.0 - self.uniform()) / alpha;
            }
        }
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
    fn normal_numbers_of_single_precision_are_normal_and_independent() {
        let mut values = vec![0.0; 200_001];
        Rng::new(7, Stream::Augment, 0, 0).fill_normal(&mut values);
        let n = values.len() as f64;
        let moment = |k: i32| values.iter().map(|x| f64::from(*x).powi(k)).sum::<f64>() / n;
        assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.02 && moment(3).abs() < 0.03);
        assert!((moment(4) - 3.0).abs() < 0.15 && values.iter().all(|x| x.abs() < 7.0));
        let correlation = values.windows(2).map(|pair| f64::from(pair[0] * pair[1])).sum::<f64>() / n;
        assert!(correlation.abs() < 0.01, "{correlation}");
    }

    #[test]
    fn beta_has_its_mean_variance_and_shape() {
        let mut rng = Rng::new(7, Stream::Mix, 0, 0);
        let n = 100_000;
        for alpha in [0.01, 0.2, 0.8, 1.0, 3.0, 50.0] {
            let drawn: Vec<f64> = (0..n).map(|_| rng.beta(alpha)).collect();
            assert!(drawn.iter().all(|x| (0.0..=1.0).contains(x)));
            let central = |k: i32| drawn.iter().map(|x| (x - 0.5).powi(k)).sum::<f64>() / n as f64;
            let variance = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            let fourth = 3.0 * variance * variance * (2.0 * alpha + 1.0) / (2.0 * alpha + 3.0);
            assert!(central(1).abs() < 5.0 * (variance / n as f64).sqrt(), "mean of Beta({alpha})");
            assert!((central(2) / variance - 1.0).abs() < 0.02, "variance of Beta({alpha})");
            assert!((central(4) / fourth - 1.0).abs() < 0.04, "fourth moment of Beta({alpha})");
        }
        // Beta(1, 1) is uniform.
        let below = (0..n).filter(|_| rng.beta(1.0) < 0.1).count();
        assert!(below.abs_diff(n / 10) < 500, "{below}");
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
