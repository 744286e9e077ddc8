//! Scaling a part of a picture.
//!
//! It is bicubic (a = −0.5) with a kernel that widens as the picture shrinks, in the arithmetic of PIL's
//! `resize(…, BICUBIC)`, whose values it reproduces exactly.

use crate::data::Picture;
use crate::data::convolve::{BITS, Kernel, along_columns};

/// A rectangle of whole pixels inside a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropBox {
    /// The first row.
    pub top: usize,
    /// The first column.
    pub left: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// Columns, at least 1.
    pub width: usize,
}

/// Cuts out `crop` and scales it to `height`×`width` pixels, each channel by itself; pixels outside the crop have no
/// influence.
///
/// # Panics
/// When the picture does not pass [`Picture::check`], the crop leaves it, or a size is 0.
pub fn resize(picture: &Picture, crop: CropBox, height: usize, width: usize) -> Picture {
    scale(picture, crop, &kernels(crop.height, height, 0, height), &kernels(crop.width, width, 0, width))
}

/// The picture scaled down so that its shorter side has `side` pixels, or as it is if that is no longer.
///
/// # Panics
/// When the picture does not pass [`Picture::check`] or `side` is 0.
pub fn shrink(picture: Picture, side: usize) -> Picture {
    let (height, width) = (picture.height, picture.width);
    let shorter = height.min(width);
    if shorter <= side {
        return picture;
    }
    let whole = CropBox { top: 0, left: 0, height, width };
    resize(&picture, whole, height * side / shorter, width * side / shorter)
}

/// The middle `height`×`width` pixels of the picture scaled to `scaled` rows and columns. Only that part is scaled.
pub(super) fn centre_of(picture: &Picture, scaled: (usize, usize), (height, width): (usize, usize)) -> Picture {
    let (rows, cols) = (picture.height, picture.width);
    let middle = |scaled: usize, wanted: usize| ((scaled - wanted) as f64 / 2.0).round_ties_even() as usize;
    let down = kernels(rows, scaled.0, middle(scaled.0, height), height);
    let across = kernels(cols, scaled.1, middle(scaled.1, width), width);
    scale(picture, CropBox { top: 0, left: 0, height: rows, width: cols }, &down, &across)
}

/// The kernels of output pixels `start` to `start + wanted` where scaling makes `scaled` pixels of `source`.
///
/// A kernel spans two source pixels to either side, or two output pixels if these are larger. Weights are normalised,
/// then rounded to fixed point. At a border the kernel is cut off.
fn kernels(source: usize, scaled: usize, start: usize, wanted: usize) -> Vec<Kernel> {
    assert!(scaled > 0 && wanted > 0, "a picture has at least one pixel");
    let step = source as f64 / scaled as f64;
    let widen = step.max(1.0);
    let kernel = |at: usize| {
        let centre = (at as f64 + 0.5) * step;
        let first = (centre - 2.0 * widen + 0.5).max(0.0) as usize;
        let end = ((centre + 2.0 * widen + 0.5) as usize).min(source);
        let weights: Vec<f64> = (first..end).map(|x| bicubic((x as f64 - centre + 0.5) / widen)).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: f64| (weight / sum * f64::from(1 << BITS)).round() as i32;
        Kernel { first, weights: weights.into_iter().map(fixed).collect() }
    };
    (start..start + wanted).map(kernel).collect()
}

/// The cubic convolution kernel with a = −0.5, zero from 2 on.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

/// Scales a part of a picture: first along its rows, then along its columns, rounded to 8 bits in between and cut off
/// at 0 and 255. That order is visible where sharp edges overshoot, and it is PIL's.
fn scale(picture: &Picture, part: CropBox, down: &[Kernel], across: &[Kernel]) -> Picture {
    assert!(
        part.top + part.height <= picture.height && part.left + part.width <= picture.width,
        "the crop lies inside"
    );
    let channels = picture.channels;
    let mut narrow = Vec::with_capacity(part.height * across.len() * channels);
    for top in (0..part.height).step_by(STRIP) {
        // A strip is turned, so that scaling along rows works on whole lines of numbers as along columns, and then back.
        let strip = CropBox { top: part.top + top, height: STRIP.min(part.height - top), ..part };
        let lines = strip.height * channels;
        let scaled = along_columns(&transposed(picture, strip), lines, across);
        narrow.extend(turn(&scaled, lines, across.len(), strip.height, channels));
    }
    let pixels = along_columns(&narrow, across.len() * channels, down);
    Picture { height: down.len(), width: across.len(), channels, pixels }
}

/// Rows that are scaled along together: few enough to stay in a near cache.
const STRIP: usize = 32;

/// The pixels of a part, column by column: `[columns, rows, channels]`.
fn transposed(picture: &Picture, part: CropBox) -> Vec<u8> {
    let (channels, stride) = (picture.channels, picture.width * picture.channels);
    let from = &picture.pixels[part.top * stride + part.left * channels..];
    turn(from, stride, part.height, part.width, channels)
}

/// Exchanges rows and columns of pixels whose rows are `stride` bytes apart.
fn turn(from: &[u8], stride: usize, rows: usize, cols: usize, channels: usize) -> Vec<u8> {
    match channels {
        1 => turn_pixels::<1>(from, stride, rows, cols),
        2 => turn_pixels::<2>(from, stride, rows, cols),
        3 => turn_pixels::<3>(from, stride, rows, cols),
        _ => turn_pixels::<4>(from, stride, rows, cols),
    }
}

/// Rows and columns that are exchanged at a time, so that what is read and written stays in the nearest cache.
const TURNED: usize = 16;

fn turn_pixels<const C: usize>(from: &[u8], stride: usize, rows: usize, cols: usize) -> Vec<u8> {
    let mut turned = vec![0; rows * cols * C];
    let (into, _) = turned.as_chunks_mut::<C>();
    for row in (0..rows).step_by(TURNED) {
        for col in (0..cols).step_by(TURNED) {
            for row in row..(row + TURNED).min(rows) {
                let (line, _) = from[row * stride..][..cols * C].as_chunks::<C>();
                for col in col..(col + TURNED).min(cols) {
                    into[col * rows + row] = line[col];
                }
            }
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::augment::resize_centre;
    use crate::data::decode;
    use std::path::Path;

    #[derive(serde::Deserialize)]
    struct Case {
        source: String,
        #[serde(rename = "box")]
        crop: Option<[usize; 4]>,
        expected: String,
    }

    /// The fixtures that PIL made, each with the worst difference of a value.
    fn differences(wanted: impl Fn(&Case) -> bool) -> Vec<(String, u8)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pil/scale");
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
        let compare = |case: &Case| {
            let channels = if case.source == "grey.png" { 1 } else { 3 + usize::from(case.source == "alpha.png") };
            let [source, expected] =
                [&case.source, &case.expected].map(|name| decode(&folder.join(name), channels).unwrap());
            let (h, w) = (expected.height, expected.width);
            let got = match case.crop {
                Some([left, top, width, height]) => resize(&source, CropBox { top, left, height, width }, h, w),
                None => resize_centre(&source, h, w),
            };
            let worst = got.pixels.iter().zip(&expected.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            (case.expected.clone(), worst)
        };
        cases.iter().filter(|case| wanted(case)).map(compare).collect()
    }

    #[test]
    fn a_scaled_crop_is_as_in_pil() {
        let found = differences(|case| case.crop.is_some());
        assert!(found.len() == 11 && found.iter().all(|(_, worst)| *worst == 0), "{found:?}");
    }

    #[test]
    fn a_centre_crop_is_as_in_pil() {
        let found = differences(|case| case.crop.is_none());
        assert!(found.len() == 3 && found.iter().all(|(_, worst)| *worst == 0), "{found:?}");
    }

    #[test]
    fn pixels_outside_the_crop_have_no_influence() {
        let inside = |row: usize, col: usize| (3..8).contains(&row) && (2..9).contains(&col);
        let with_border = |border: u8| {
            let pixels = (0..120).map(|at| if inside(at / 12, at % 12) { (at * 2) as u8 } else { border });
            let picture = Picture { height: 10, width: 12, channels: 1, pixels: pixels.collect() };
            resize(&picture, CropBox { top: 3, left: 2, height: 5, width: 7 }, 3, 4)
        };
        assert_eq!(with_border(0), with_border(255));
    }
}
