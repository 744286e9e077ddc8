//! Cutting and scaling pictures: the random crop of training and the centre crop of everything else.
//!
//! Scaling is bicubic (a = −0.5) with a kernel that widens as the picture shrinks, as PIL does it, in 8 bits.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::{CropBox as Part, FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer, pixels};

use super::Picture;
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

/// The rectangle of torchvision's `RandomResizedCrop(scale=(0.2, 1), ratio=(3/4, 4/3))` in a picture of `height`×`width`
/// pixels. Up to ten times: an area, a ratio (log-uniform), and if the rectangle fits, its top and left. After
/// that the largest rectangle in the middle whose ratio is allowed.
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
    assert!(crop.left + crop.width <= picture.width, "the crop lies in the picture");
    let channels = picture.channels;
    let rows = picture.pixels.chunks_exact(picture.width * channels).skip(crop.top).take(crop.height);
    let pixels = rows.flat_map(|row| &row[crop.left * channels..][..crop.width * channels]).copied().collect();
    let cut = Picture { height: crop.height, width: crop.width, channels, pixels };
    cut.check().expect("the crop lies in the picture");
    scale(&cut, (0.0, cut.height as f64), (0.0, cut.width as f64), height, width)
}

/// Scales a picture so that it just covers `height`×`width` pixels and cuts out the middle, as torchvision's
/// `Resize` and `CenterCrop` do, each channel by itself. Only the part that is kept is scaled.
///
/// # Panics
/// When the picture does not pass [`Picture::check`] or a size is 0.
pub fn resize_centre(picture: &Picture, height: usize, width: usize) -> Picture {
    let (rows, cols) = (picture.height, picture.width);
    let (scaled_rows, scaled_cols) = match width * rows >= height * cols {
        true => (rows * width / cols, width),
        false => (height, cols * height / rows),
    };
    let (part_rows, part_cols) = (centre(rows, scaled_rows, height), centre(cols, scaled_cols, width));
    scale(picture, part_rows, part_cols, height, width)
}

/// Along one side of `source` pixels that scaling makes `scaled`: the start and the length, in source pixels, of the
/// `wanted` pixels in the middle.
fn centre(source: usize, scaled: usize, wanted: usize) -> (f64, f64) {
    let pixel = source as f64 / scaled as f64;
    let start = ((scaled - wanted) as f64 / 2.0).round_ties_even() * pixel;
    (start, (wanted as f64 * pixel).min(source as f64 - start))
}

/// Scales the part of a picture that starts at, and is as long as, `part_rows` and `part_cols` say, to `height`×`width`
/// pixels. First along the rows, then along the columns, in 8 bits in between: PIL's order. The library's own order is
/// the other one, which differs visibly where sharp edges overshoot and are cut off at 0 or 255.
fn scale(picture: &Picture, part_rows: (f64, f64), part_cols: (f64, f64), height: usize, width: usize) -> Picture {
    let rows = picture.height;
    let across = Part { left: part_cols.0, top: 0.0, width: part_cols.1, height: rows as f64 };
    let down = Part { left: 0.0, top: part_rows.0, width: width as f64, height: part_rows.1 };
    convolve(&convolve(picture, across, rows, width), down, height, width)
}

/// One pass of the library, for pictures of any number of channels. The typed form is used because the other one
/// compiles all of its fifteen kinds of pixel.
fn convolve(from: &Picture, part: Part, height: usize, width: usize) -> Picture {
    match from.channels {
        1 => convolve_typed::<pixels::U8>(from, part, height, width),
        2 => convolve_typed::<pixels::U8x2>(from, part, height, width),
        3 => convolve_typed::<pixels::U8x3>(from, part, height, width),
        _ => convolve_typed::<pixels::U8x4>(from, part, height, width),
    }
}

fn convolve_typed<P: PixelTrait>(from: &Picture, part: Part, height: usize, width: usize) -> Picture {
    assert!(height > 0 && width > 0, "a picture has at least one pixel");
    let mut to = Picture { height, width, channels: from.channels, pixels: vec![0; height * width * from.channels] };
    let source = TypedImageRef::<P>::from_buffer(side(from.width), side(from.height), &from.pixels);
    let target = TypedImage::<P>::from_buffer(side(width), side(height), &mut to.pixels);
    let (source, mut target) = (source.expect("a checked picture"), target.expect("as many values as the sizes say"));
    let how = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).use_alpha(false);
    let how = how.crop(part.left, part.top, part.width, part.height);
    Resizer::new().resize_typed(&source, &mut target, &how).expect("the part lies in the picture");
    to
}

fn side(pixels: usize) -> u32 {
    u32::try_from(pixels).expect("a side has fewer than 2³² pixels")
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
    fn a_scaled_crop_is_within_2_of_pil() {
        let found = differences(|case| case.crop.is_some());
        assert!(found.len() == 11 && found.iter().all(|(_, worst)| *worst <= 2), "{found:?}");
    }

    #[test]
    fn a_centre_crop_is_within_2_of_pil() {
        let found = differences(|case| case.crop.is_none());
        assert!(found.len() == 3 && found.iter().all(|(_, worst)| *worst <= 2), "{found:?}");
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
