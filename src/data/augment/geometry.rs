//! RandAugment's geometric operations in the arithmetic of Pillow's `Image.transform(…, AFFINE, …, BICUBIC)`: cubic
//! convolution with a = −1 (Pillow's resizing has −½) in f64, cut off rather than rounded; pixels whose place lies outside
//! the picture take a fill colour.

use crate::data::Picture;

/// Where a pixel of the result is taken from: x' = m₀x + m₁y + m₂ and y' = m₃x + m₄y + m₅.
type Matrix = [f64; 6];

/// Shears rows: each moves by `factor` of its distance from the upper edge.
pub(super) fn shear_x(picture: &Picture, factor: f64, fill: &[u8]) -> Picture {
    affine(picture, [1.0, factor, 0.0, 0.0, 1.0, 0.0], fill)
}

/// Shears columns: each moves by `factor` of its distance from the left edge.
pub(super) fn shear_y(picture: &Picture, factor: f64, fill: &[u8]) -> Picture {
    affine(picture, [1.0, 0.0, 0.0, factor, 1.0, 0.0], fill)
}

/// Moves a picture to the left by `share` of its width.
pub(super) fn translate_x(picture: &Picture, share: f64, fill: &[u8]) -> Picture {
    affine(picture, [1.0, 0.0, share * picture.width as f64, 0.0, 1.0, 0.0], fill)
}

/// Moves a picture up by `share` of its height.
pub(super) fn translate_y(picture: &Picture, share: f64, fill: &[u8]) -> Picture {
    affine(picture, [1.0, 0.0, 0.0, 0.0, 1.0, share * picture.height as f64], fill)
}

/// Turns a picture anticlockwise about its middle.
pub(super) fn rotate(picture: &Picture, degrees: f64, fill: &[u8]) -> Picture {
    let angle = -(degrees.rem_euclid(360.0) * (std::f64::consts::PI / 180.0));
    let (sin, cos) = libm::sincos(angle);
    let (cos, sin, minus_sin) = (rounded(cos), rounded(sin), rounded(-sin));
    let (x, y) = (picture.width as f64 / 2.0, picture.height as f64 / 2.0);
    affine(picture, [cos, sin, cos * -x + sin * -y + x, minus_sin, cos, minus_sin * -x + cos * -y + y], fill)
}

/// To 15 decimals, as Pillow does with sine and cosine.
fn rounded(value: f64) -> f64 {
    format!("{value:.15}").parse().expect("a number")
}

fn affine(picture: &Picture, matrix: Matrix, fill: &[u8]) -> Picture {
    let pixels = match picture.channels {
        1 => transformed::<1>(picture, &matrix, fill),
        2 => transformed::<2>(picture, &matrix, fill),
        3 => transformed::<3>(picture, &matrix, fill),
        _ => transformed::<4>(picture, &matrix, fill),
    };
    Picture { pixels, ..*picture }
}

fn transformed<const C: usize>(picture: &Picture, m: &Matrix, fill: &[u8]) -> Vec<u8> {
    let (height, width) = (picture.height as f64, picture.width as f64);
    let (source, _) = picture.pixels.as_chunks::<C>();
    let mut pixels = vec![0; picture.pixels.len()];
    let lines = pixels.as_chunks_mut::<C>().0.chunks_exact_mut(picture.width);
    for (line, row) in lines.zip(0u32..) {
        for (pixel, column) in line.iter_mut().zip(0u32..) {
            let (x, y) = (f64::from(column) + 0.5, f64::from(row) + 0.5);
            let (u, v) = (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]);
            let inside = u >= 0.0 && u < width && v >= 0.0 && v < height;
            *pixel = match inside {
                true => sampled(source, picture.height, picture.width, u - 0.5, v - 0.5),
                false => *fill.first_chunk().expect("a value for each channel"),
            };
        }
    }
    pixels
}

/// The pixel at a place that pixels are whole numbers of, at least −½. Those at the edges go on beyond them.
#[inline(always)]
fn sampled<const C: usize>(source: &[[u8; C]], height: usize, width: usize, u: f64, v: f64) -> [u8; C] {
    // -1 is the only number below 0, so cutting off suffices above.
    let floor = |place: f64| if place < 0.0 { -1 } else { place as isize };
    let (left, top) = (floor(u), floor(v));
    let (du, dv) = (u - left as f64, v - top as f64);
    let taps = |first: isize, size: usize| [-1, 0, 1, 2].map(|tap| (first + tap).clamp(0, size as isize - 1) as usize);
    let columns = taps(left, width);
    // At a whole number the neighbours have no weight, and shears and shifts have one throughout on one side.
    let along = |row: usize| -> [f64; C] {
        let line = &source[row * width..][..width];
        match du == 0.0 {
            true => line[columns[1]].map(f64::from),
            false => {
                let near = columns.map(|column| line[column].map(f64::from));
                std::array::from_fn(|c| cubic(near.map(|pixel| pixel[c]), du))
            }
        }
    };
    let rows = taps(top, height);
    let values = match dv == 0.0 {
        true => along(rows[1]),
        false => {
            let near = rows.map(along);
            std::array::from_fn(|c| cubic(near.map(|pixel| pixel[c]), dv))
        }
    };
    // Cut off to 0..=255.
    values.map(|value| value as u8)
}

/// Cubic convolution with a = −1 at `d` of the way from the second value to the third.
#[inline(always)]
fn cubic(p: [f64; 4], d: f64) -> f64 {
    p[1] + d * ((p[2] - p[0]) + d * ((2.0 * (p[0] - p[1]) + p[2] - p[3]) + d * (p[1] - p[0] - p[2] + p[3])))
}
