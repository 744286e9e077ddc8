//! What RandAugment and colour jitter do to the values of pixels, in the arithmetic of Pillow's `ImageOps` and
//! `ImageEnhance`: eight bits, a blend in f32, cut off rather than rounded.
//!
//! Pictures have one channel or three. Of grey ones, the luma is the picture itself.

use crate::data::Picture;
use crate::data::picture::luma;

/// Replaces every value of a channel by that of the channel's table.
fn look_up(picture: &mut Picture, table: impl Fn(usize) -> [u8; 256]) {
    let tables: Vec<[u8; 256]> = (0..picture.channels).map(table).collect();
    for pixel in picture.pixels.chunks_exact_mut(tables.len()) {
        for (value, table) in pixel.iter_mut().zip(&tables) {
            *value = table[usize::from(*value)];
        }
    }
}

/// How many pixels have each value of a channel.
fn histogram(picture: &Picture, channel: usize) -> [usize; 256] {
    let mut counts = [0; 256];
    picture.pixels.iter().skip(channel).step_by(picture.channels).for_each(|value| counts[usize::from(*value)] += 1);
    counts
}

/// The table that leaves values as they are.
fn unchanged() -> [u8; 256] {
    std::array::from_fn(|value| value as u8)
}

/// Stretches each channel so that its values reach 0 and 255; one of a single value stays.
pub(super) fn auto_contrast(picture: &mut Picture) {
    let table = |channel| {
        let counts = histogram(picture, channel);
        let used = |count: &usize| *count > 0;
        match (counts.iter().position(used), counts.iter().rposition(used)) {
            (Some(low), Some(high)) if low < high => {
                let scale = 255.0 / (high - low) as f64;
                let offset = -(low as f64) * scale;
                std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
            }
            _ => unchanged(),
        }
    };
    let tables: Vec<[u8; 256]> = (0..picture.channels).map(table).collect();
    look_up(picture, |channel| tables[channel]);
}

/// Spreads the values of each channel so that all are about equally frequent. A channel of a single value, or of so few
/// pixels that a step would have none, stays.
pub(super) fn equalize(picture: &mut Picture) {
    let table = |channel| {
        let counts = histogram(picture, channel);
        let last = counts.iter().rposition(|count| *count > 0).map_or(0, |value| counts[value]);
        let step = (counts.iter().sum::<usize>() - last) / 255;
        if step == 0 {
            return unchanged();
        }
        let mut below = step / 2;
        counts.map(|count| {
            let value = (below / step).min(255) as u8;
            below += count;
            value
        })
    };
    let tables: Vec<[u8; 256]> = (0..picture.channels).map(table).collect();
    look_up(picture, |channel| tables[channel]);
}

/// Each value's distance from white.
pub(super) fn invert(picture: &mut Picture) {
    solarize(picture, 0);
}

/// Keeps the `bits` highest bits of each value; 0 gives black, where Pillow 13 raises an error.
pub(super) fn posterize(picture: &mut Picture, bits: u32) {
    let mask = (0xff00_u32 >> bits.min(8)) as u8;
    picture.pixels.iter_mut().for_each(|value| *value &= mask);
}

/// Inverts the values from `threshold` on.
pub(super) fn solarize(picture: &mut Picture, threshold: u16) {
    for value in &mut picture.pixels {
        *value = if u16::from(*value) < threshold { *value } else { 255 - *value };
    }
}

/// Adds to the values below 128, up to 255.
pub(super) fn solarize_add(picture: &mut Picture, addend: u8) {
    for value in &mut picture.pixels {
        *value = if *value < 128 { value.saturating_add(addend) } else { *value };
    }
}

/// From `base` towards `value` and beyond: 0 gives the base, 1 the value. Cut off to eight bits, not rounded.
fn blend(base: u8, value: u8, factor: f32) -> u8 {
    let base = f32::from(base);
    (base + factor * (f32::from(value) - base)) as u8
}

/// Blends black with the picture.
pub(super) fn brightness(picture: &mut Picture, factor: f32) {
    let table = std::array::from_fn(|value| blend(0, value as u8, factor));
    look_up(picture, |_| table);
}

/// Blends the mean luma, rounded, with the picture.
pub(super) fn contrast(picture: &mut Picture, factor: f32) {
    let (sum, count) = match picture.pixels.as_chunks::<3>().0 {
        colours if picture.channels == 3 => (colours.iter().map(|rgb| u64::from(luma(*rgb))).sum(), colours.len()),
        _ => (picture.pixels.iter().copied().map(u64::from).sum::<u64>(), picture.pixels.len()),
    };
    let mean = (sum as f64 / count as f64 + 0.5) as u8;
    let table = std::array::from_fn(|value| blend(mean, value as u8, factor));
    look_up(picture, |_| table);
}

/// Blends the luma of each pixel with its colour. Grey stays.
pub(super) fn color(picture: &mut Picture, factor: f32) {
    if picture.channels == 3 {
        for rgb in picture.pixels.as_chunks_mut::<3>().0 {
            let grey = luma(*rgb);
            *rgb = rgb.map(|value| blend(grey, value, factor));
        }
    }
}

/// Blends the smoothed picture with the picture. Smoothing takes the mean of 3×3 pixels, the middle one counting five
/// times, rounded; the outermost pixels are not smoothed, so they stay.
pub(super) fn sharpness(picture: &mut Picture, factor: f32) {
    let (height, across, stride) = (picture.height, picture.channels, picture.width * picture.channels);
    if picture.height < 3 || picture.width < 3 {
        return;
    }
    let inner = across..stride - across;
    let from = picture.pixels.clone();
    for row in 1..height - 1 {
        let lines = [row - 1, row, row + 1].map(|row| &from[row * stride..][..stride]);
        let into = &mut picture.pixels[row * stride..][..stride];
        // The sums of three, of all columns, so that each is made once.
        let columns = lines[0].iter().zip(lines[1]).zip(lines[2]);
        let sums: Vec<u32> = columns.map(|((a, b), c)| u32::from(*a) + u32::from(*b) + u32::from(*c)).collect();
        for at in inner.clone() {
            let value = lines[1][at];
            let sum = sums[at - across] + sums[at] + sums[at + across] + 4 * u32::from(value);
            into[at] = blend(((2 * sum + 13) / 26) as u8, value, factor);
        }
    }
}
