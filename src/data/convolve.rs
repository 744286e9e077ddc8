//! The inner loop of scaling: weighted sums of rows of bytes, in fixed point.

/// Fraction bits of a weight.
pub(super) const BITS: u32 = 22;

/// One half in fixed point, so that cutting off the fraction rounds.
const HALF: i32 = 1 << (BITS - 1);

/// How one output pixel is made along one side: the first source pixel and the weights of it and the following ones.
pub(super) struct Kernel {
    pub(super) first: usize,
    pub(super) weights: Vec<i32>,
}

/// Columns that are convolved at a time: as many as their sums fit into registers.
const LANES: usize = 32;

/// Convolves columns of rows of `values` values, rounded to 8 bits and cut off at 0 and 255: `[kernels, values]`.
pub(super) fn along_columns(from: &[u8], values: usize, kernels: &[Kernel]) -> Vec<u8> {
    let convolve = fastest();
    let mut pixels = vec![0; kernels.len() * values];
    for (kernel, into) in kernels.iter().zip(pixels.chunks_exact_mut(values)) {
        let rows = &from[kernel.first * values..][..kernel.weights.len() * values];
        let (wide, narrow) = into.as_chunks_mut::<LANES>();
        let rest = wide.len() * LANES;
        for (block, into) in wide.iter_mut().enumerate() {
            *into = convolve(&rows[block * LANES..], values, &kernel.weights);
        }
        for (at, into) in narrow.iter_mut().enumerate() {
            let column = rows[rest + at..].iter().step_by(values);
            let products = column.zip(&kernel.weights).map(|(&value, &weight)| i32::from(value) * weight);
            *into = eight_bits(HALF + products.sum::<i32>());
        }
    }
    pixels
}

fn eight_bits(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// The first columns of rows that are `stride` apart, convolved.
type Convolve = fn(&[u8], usize, &[i32]) -> [u8; LANES];

/// What this processor does fastest. Whole numbers give the same values everywhere.
fn fastest() -> Convolve {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return |rows, stride, weights| unsafe { with_avx2(rows, stride, weights) };
    }
    anywhere
}

fn anywhere(rows: &[u8], stride: usize, weights: &[i32]) -> [u8; LANES] {
    let mut sums = [HALF; LANES];
    for (row, &weight) in rows.chunks(stride).zip(weights) {
        let row: &[u8; LANES] = row.first_chunk().expect("as many as lanes");
        for (sum, &value) in sums.iter_mut().zip(row) {
            // Sums stay below 2³¹: the weights' sizes add up to less than 1.5 of 2²², times 255.
            *sum = sum.wrapping_add(i32::from(value).wrapping_mul(weight));
        }
    }
    sums.map(eight_bits)
}

/// The same with 256-bit registers: compilers leave the sums in memory otherwise.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(rows: &[u8], stride: usize, weights: &[i32]) -> [u8; LANES] {
    use std::arch::x86_64::{
        _mm_set_epi64x, _mm256_add_epi32, _mm256_cvtepu8_epi32, _mm256_mullo_epi32, _mm256_set1_epi32,
        _mm256_srai_epi32,
    };
    // Loops throughout: release builds leave closures of a function for wider registers as calls.
    let mut sums = [_mm256_set1_epi32(HALF); LANES / 8];
    for (row, &weight) in rows.chunks(stride).zip(weights) {
        let row: &[u8; LANES] = row.first_chunk().expect("as many as lanes");
        let weight = _mm256_set1_epi32(weight);
        for (sum, &word) in sums.iter_mut().zip(row.as_chunks::<8>().0) {
            let values = _mm256_cvtepu8_epi32(_mm_set_epi64x(0, i64::from_le_bytes(word)));
            *sum = _mm256_add_epi32(*sum, _mm256_mullo_epi32(values, weight));
        }
    }
    for sum in &mut sums {
        *sum = _mm256_srai_epi32::<{ BITS as i32 }>(*sum);
    }
    let sums: [i32; LANES] = bytemuck::cast(sums);
    let mut bytes = [0; LANES];
    for (byte, sum) in bytes.iter_mut().zip(sums) {
        *byte = sum.clamp(0, 255) as u8;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, Stream};

    #[test]
    fn every_processor_gives_the_same_bytes() {
        let mut rng = Rng::new(3, Stream::Augment, 0, 0);
        for stride in [32, 40, 101] {
            for taps in 1..20 {
                let rows: Vec<u8> = (0..stride * taps).map(|_| rng.below(256) as u8).collect();
                let weights: Vec<i32> = (0..taps).map(|_| rng.below(1 << 20) as i32 - (1 << 18)).collect();
                assert_eq!(fastest()(&rows, stride, &weights), anywhere(&rows, stride, &weights));
                let kernel = Kernel { first: 0, weights: weights.clone() };
                let line = along_columns(&rows, stride, &[kernel]);
                let exact = |at: usize| {
                    let sum: i32 = (0..taps).map(|row| i32::from(rows[row * stride + at]) * weights[row]).sum();
                    (f64::from(sum) / f64::from(1 << BITS) + 0.5).floor().clamp(0.0, 255.0) as u8
                };
                assert!(line.iter().enumerate().all(|(at, &byte)| byte == exact(at)), "{stride} {taps}");
            }
        }
    }
}
