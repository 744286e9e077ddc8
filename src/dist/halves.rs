//! Values as halves times a power of two, 16 bytes before them: the exponent, then zeros. The power is the one that
//! puts the largest magnitude between 2¹³ and 2¹⁴. So nothing overflows as a half, a value is rounded by at most 2⁻¹¹
//! of itself, and one far below the largest by at most 2⁻³⁸ of that. Infinities and NaN stay what they are.

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

/// Words of 32 bits before the halves.
const HEADER: usize = 4;

/// Values that are converted at a time.
const BLOCK: usize = 1024;

/// How many words of 32 bits so many values take.
pub(super) fn words(values: usize) -> usize {
    HEADER + values.div_ceil(2)
}

/// 2^`exponent`, for what f32 has as a normal number.
fn power(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// The power of two for values whose largest finite magnitude is this.
fn exponent(largest: f32) -> i32 {
    match largest {
        0.0 => 0,
        // In f64 the smallest f32 has an exponent of its own too.
        _ => (13 - ((f64::from(largest).to_bits() >> 52) as i32 - 1023)).min(126),
    }
}

/// The largest finite magnitude.
fn largest(values: &[f32]) -> f32 {
    // Side by side, and with a comparison that NaN fails: the loop becomes a processor's vector instructions.
    let larger = |most: f32, value: f32| if value > most { value } else { most };
    let (blocks, rest) = values.as_chunks::<16>();
    let mut most = [0.0; 16];
    for block in blocks {
        for (most, value) in most.iter_mut().zip(block) {
            *most = larger(*most, value.abs());
        }
    }
    let largest = most.into_iter().chain(rest.iter().map(|value| value.abs())).fold(0.0, larger);
    if largest.is_finite() {
        return largest;
    }
    values.iter().map(|value| value.abs()).filter(|value| value.is_finite()).fold(0.0, larger)
}

/// Rounds values to halves. `packed` has at least [`words`] of them.
pub(super) fn pack(values: &[f32], packed: &mut [f32]) {
    let exponent = exponent(largest(values));
    let (header, halves) = packed.split_at_mut(HEADER);
    header.fill(0.0);
    header[0] = f32::from_bits(exponent as u32);
    let halves = bytemuck::cast_slice_mut::<f32, u16>(halves);
    let scale = power(exponent);
    let mut scaled = [0.0; BLOCK];
    for (values, halves) in values.chunks(BLOCK).zip(halves.chunks_mut(BLOCK)) {
        let scaled = &mut scaled[..values.len()];
        scaled.iter_mut().zip(values).for_each(|(scaled, value)| *scaled = value * scale);
        halves[..values.len()].reinterpret_cast_mut::<half::f16>().convert_from_f32_slice(scaled);
    }
}

/// The values from `first` on.
pub(super) fn unpack(packed: &[f32], first: usize, values: &mut [f32]) {
    let (header, halves) = packed.split_at(HEADER);
    let halves = &bytemuck::cast_slice::<f32, u16>(halves)[first..first + values.len()];
    halves.reinterpret_cast::<half::f16>().convert_to_f32_slice(values);
    // What comes from outside is an exponent or is made one.
    let scale = power((header[0].to_bits() as i32).clamp(-126, 126).wrapping_neg());
    values.iter_mut().for_each(|value| *value *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(values: &[f32]) -> Vec<f32> {
        let mut packed = vec![f32::NAN; words(values.len())];
        pack(values, &mut packed);
        let mut back = vec![f32::NAN; values.len()];
        unpack(&packed, 0, &mut back);
        back
    }

    #[test]
    fn values_of_every_magnitude_keep_eleven_bits() {
        let fractions = (0..3000).map(|i| (i as f32 * 0.37).sin());
        let values: Vec<f32> = fractions.enumerate().map(|(i, v)| v * 0.5_f32.powi(i as i32 % 20)).collect();
        for magnitude in [-149, -140, -127, -100, -60, -20, 0, 15, 60, 126] {
            let scaled: Vec<f32> =
                values.iter().map(|v| (f64::from(*v) * f64::exp2(magnitude.into())) as f32).collect();
            let largest = scaled.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
            for (back, value) in there_and_back(&scaled).into_iter().zip(&scaled) {
                // Below 2^-113 halves have no power of two that lifts them high enough.
                let floor = (f64::from(largest) * f64::exp2(-38.0)).max(f64::exp2(-151.0));
                let bound = (f64::from(value.abs()) * f64::exp2(-11.0)).max(floor);
                assert!((f64::from(back) - f64::from(*value)).abs() <= bound, "{value:e} became {back:e}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so_and_spoils_nothing_else() {
        let values = [1.0, f32::NAN, -3.5, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-3];
        let back = there_and_back(&values);
        assert!(back[1].is_nan());
        assert_eq!(back[3..5], values[3..5]);
        assert_eq!((back[0], back[2]), (1.0, -3.5));
        assert!((back[7] - 1e-3).abs() < 1e-6);
        assert!(back[6].is_sign_negative() && back[5].is_sign_positive());
        // The largest of all f32 round to the next power of two, which f32 has no more.
        assert_eq!(there_and_back(&[f32::MAX, 1e38])[0], f32::INFINITY);
        assert!(there_and_back(&[f32::MAX * 0.9997, 1e38]).iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_part_is_read_like_the_whole() {
        let values: Vec<f32> = (0..2500).map(|i| i as f32 / 7.0).collect();
        let mut packed = vec![0.0; words(values.len()) + 5];
        pack(&values, &mut packed);
        let mut part = vec![0.0; 1201];
        unpack(&packed, 1111, &mut part);
        assert_eq!(part, there_and_back(&values)[1111..1111 + 1201]);
    }
}
