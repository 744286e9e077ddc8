//! Cutting and scaling pictures: the random crop of training and the centre crop of everything else.
//!
//! Scaling is bicubic (a = −0.5) with a kernel that widens as the picture shrinks, in the arithmetic of PIL's
//! `resize(…, BICUBIC)`, whose values it reproduces exactly.

use super::Picture;
use super::convolve::{BITS, Kernel, along_columns};
use crate::rng::Rng;

/// The smallest part of a picture's area that a random crop takes.
const AREA_MIN: f64 = 0.2;

/// The smallest and the largest width-to-height ratio of a random crop.
const ASPECT: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

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

/// The training view of a picture: a random crop scaled to `height`×`width`, mirrored half of the time.
///
/// # Panics
/// When the picture does not pass [`Picture::check`] or a size is 0.
pub fn augment(picture: &Picture, height: usize, width: usize, rng: &mut Rng) -> Picture {
    let crop = random_crop(picture.height, picture.width, rng);
    let mut view = resize(picture, crop, height, width);
    if rng.uniform() < 0.5 {
        view.flip();
    }
    view
}

/// The rectangle of torchvision's `RandomResizedCrop(scale=(0.2, 1), ratio=(3/4, 4/3))` in a picture of
/// `height`×`width` pixels. Up to ten times: an area, a ratio (log-uniform), and if the rectangle fits, its top and
/// left. After that the largest rectangle in the middle whose ratio is allowed.
pub fn random_crop(height: usize, width: usize, rng: &mut Rng) -> CropBox {
    let area = (height * width) as f64;
    for _ in 0..10 {
        let target = area * rng.range(AREA_MIN, 1.0);
        let ratio = libm::exp(rng.range(libm::log(ASPECT.0), libm::log(ASPECT.1)));
        let w = libm::sqrt(target * ratio).round_ties_even() as usize;
        let h = libm::sqrt(target / ratio).round_ties_even() as usize;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            return CropBox { top: rng.below(height - h + 1), left: rng.below(width - w + 1), height: h, width: w };
        }
    }
    let ratio = width as f64 / height as f64;
    let (mut h, mut w) = (height, width);
    if ratio < ASPECT.0 {
        h = (width as f64 / ASPECT.0).round_ties_even() as usize;
    } else if ratio > ASPECT.1 {
        w = (height as f64 * ASPECT.1).round_ties_even() as usize;
    }
    CropBox { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
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

/// Scales a picture so that it just covers `height`×`width` pixels and cuts out the middle, as torchvision's
/// `Resize` and `CenterCrop` do, each channel by itself. Only the part that is kept is scaled.
///
/// # Panics
/// When the picture does not pass [`Picture::check`] or a size is 0.
pub fn resize_centre(picture: &Picture, height: usize, width: usize) -> Picture {
    let (rows, cols) = (picture.height, picture.width);
    let scaled = match width * rows >= height * cols {
        true => (rows * width / cols, width),
        false => (height, cols * height / rows),
    };
    centre_of(picture, scaled, (height, width))
}

/// The middle `height`×`width` pixels of the picture scaled to `scaled` rows and columns. Only that part is scaled.
fn centre_of(picture: &Picture, scaled: (usize, usize), (height, width): (usize, usize)) -> Picture {
    let (rows, cols) = (picture.height, picture.width);
    let middle = |scaled: usize, wanted: usize| ((scaled - wanted) as f64 / 2.0).round_ties_even() as usize;
    let down = kernels(rows, scaled.0, middle(scaled.0, height), height);
    let across = kernels(cols, scaled.1, middle(scaled.1, width), width);
    scale(picture, CropBox { top: 0, left: 0, height: rows, width: cols }, &down, &across)
}

/// The view of a picture that evaluation takes (timm's and MAE's): the shorter side scaled to 256/224 of the view's, the
/// longer one in proportion, and the middle cut out. Views of 32 pixels or fewer, and of 384 or more, are not cut at the
/// sides: the shorter side is scaled to the view's.
///
/// # Panics
/// When the picture does not pass [`Picture::check`] or a size is 0.
pub fn evaluation_view(picture: &Picture, height: usize, width: usize) -> Picture {
    let side = height.max(width);
    let share = if (33..384).contains(&side) { (256, 224) } else { (1, 1) };
    evaluation_view_of(picture, height, width, side * share.0 / share.1)
}

/// The same with the shorter side scaled to `shorter`, at least the view's longer one.
fn evaluation_view_of(picture: &Picture, height: usize, width: usize, shorter: usize) -> Picture {
    let (rows, cols) = (picture.height, picture.width);
    let scaled = match rows <= cols {
        true => (shorter, shorter * cols / rows),
        false => (shorter * rows / cols, shorter),
    };
    centre_of(picture, scaled, (height, width))
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
    use crate::data::decode;
    use crate::rng::Stream;
    use std::path::Path;

    #[derive(serde::Deserialize)]
    struct Case {
        source: String,
        #[serde(rename = "box")]
        crop: Option<[usize; 4]>,
        expected: String,
    }

    /// What torchvision's Resize and CenterCrop make with Pillow.
    #[test]
    fn evaluation_views_are_torchvisions() {
        #[derive(serde::Deserialize)]
        struct View {
            picture: String,
            size: usize,
            shorter_side: usize,
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/classify");
        let views: Vec<View> = serde_json::from_slice(&std::fs::read(folder.join("views.json")).unwrap()).unwrap();
        for View { picture, size, shorter_side } in views {
            let [source, expected] =
                ["in", "out"].map(|side| decode(&folder.join(format!("{picture}_{side}.png")), 3).unwrap());
            let got = evaluation_view_of(&source, size, size, shorter_side);
            assert_eq!(got, expected, "{picture}");
        }
        let picture = Picture { height: 40, width: 50, channels: 1, pixels: vec![7; 2000] };
        let view = evaluation_view(&picture, 32, 32);
        assert_eq!(view, resize_centre(&picture, 32, 32), "small views are not cut at the sides");
    }

    fn rng(index: u64) -> Rng {
        Rng::new(11, Stream::Augment, 0, index)
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

    #[test]
    fn random_crops_have_the_published_areas_and_ratios() {
        let crops: Vec<CropBox> = (0..4000).map(|index| random_crop(480, 640, &mut rng(index))).collect();
        let area = |crop: &CropBox| (crop.height * crop.width) as f64 / (480.0 * 640.0);
        let ratio = |crop: &CropBox| crop.width as f64 / crop.height as f64;
        assert!(crops.iter().all(|c| c.top + c.height <= 480 && c.left + c.width <= 640));
        assert!(crops.iter().all(|c| (0.198..=1.0).contains(&area(c)) && (0.74..=1.345).contains(&ratio(c))));
        let small = crops.iter().filter(|c| area(c) < 0.25).count();
        let tall = crops.iter().filter(|c| ratio(c) < 1.0).count();
        assert!((200..400).contains(&small), "{small} crops of less than a quarter");
        assert!((1300..2000).contains(&tall), "{tall} crops taller than wide");
        assert!(crops.iter().any(|c| c.top == 0) && crops.iter().any(|c| c.top + c.height == 480));
    }

    #[test]
    fn pictures_too_narrow_for_a_crop_give_their_middle() {
        let middle = CropBox { top: 49, left: 0, height: 1, width: 1 };
        assert_eq!(random_crop(100, 1, &mut rng(0)), middle);
        assert_eq!(random_crop(3, 300, &mut rng(0)), CropBox { top: 0, left: 148, height: 3, width: 4 });
        let line = Picture { height: 1, width: 16384, channels: 3, pixels: vec![9; 3 * 16384] };
        assert_eq!(resize_centre(&line, 224, 224).pixels, vec![9; 3 * 224 * 224]);
        assert_eq!(augment(&line, 32, 16, &mut rng(0)).pixels, vec![9; 3 * 32 * 16]);
    }

    #[test]
    fn half_of_the_views_are_mirrored() {
        let ramp: Vec<u8> = (0..64 * 64).map(|at| (at % 64 * 4) as u8).collect();
        let picture = Picture { height: 64, width: 64, channels: 1, pixels: ramp };
        let rises = |index| {
            let view = augment(&picture, 8, 8, &mut rng(index));
            view.pixels[7] > view.pixels[0]
        };
        let mirrored = (0..1000).filter(|&index| !rises(index)).count();
        assert!(mirrored.abs_diff(500) < 60, "{mirrored} of 1000");
    }
}
