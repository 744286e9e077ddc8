//! Which part of a picture a view shows: the random crops of training and the middle that everything else takes.

use super::scale::{CropBox, centre_of};
use crate::data::Picture;
use crate::rng::Rng;

/// The smallest and the largest width-to-height ratio of a random crop.
const ASPECT: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

/// The rectangle of torchvision's `RandomResizedCrop(scale=(area_min, 1), ratio=(3/4, 4/3))` in a picture
/// of `height`×`width` pixels. Up to ten times: an area, a ratio (log-uniform), and if the rectangle fits, its top and
/// left. After that the largest rectangle in the middle whose ratio is allowed.
pub fn random_crop(height: usize, width: usize, area_min: f64, rng: &mut Rng) -> CropBox {
    let area = (height * width) as f64;
    for _ in 0..10 {
        let target = area * rng.range(area_min, 1.0);
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

/// Moves a picture by up to `pad` pixels each way; what comes in from outside is black: torchvision's
/// `RandomCrop(size, padding=pad)` of a picture that has the size already.
pub fn pad_crop(picture: &Picture, pad: usize, rng: &mut Rng) -> Picture {
    let &Picture { height, width, channels, .. } = picture;
    let (down, right) = (rng.below(2 * pad + 1), rng.below(2 * pad + 1));
    let mut pixels = vec![0; picture.pixels.len()];
    // Pixel x of a row shows pixel x + right - pad of the picture's, where there is one.
    let (start, end) = (pad.saturating_sub(right), (width + pad).saturating_sub(right).min(width));
    for (y, line) in pixels.chunks_exact_mut(width * channels).enumerate() {
        let Some(row) = (y + down).checked_sub(pad).filter(|row| *row < height && start < end) else { continue };
        let from = (row * width + start + right - pad) * channels;
        let seen = &mut line[start * channels..end * channels];
        seen.copy_from_slice(&picture.pixels[from..from + seen.len()]);
    }
    Picture { height, width, channels, pixels }
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

/// The share of a picture's shorter side that evaluation shows at a view of `side` pixels (timm's `crop_pct`, MAE's
/// evaluation): 224/256, and all of it at 32 pixels or fewer and at 384 or more.
pub fn crop_share(side: usize) -> f64 {
    if (33..384).contains(&side) { 0.875 } else { 1.0 }
}

/// The middle of a picture: the shorter side is scaled to the view's longer one divided by `share` (rounded down), the
/// other in proportion, and what is beyond the view cut off at the sides.
///
/// # Panics
/// When the picture does not pass [`Picture::check`], a size is 0, or `share` is not above 0 and at most 1.
pub fn evaluation_crop(picture: &Picture, height: usize, width: usize, share: f64) -> Picture {
    assert!(share > 0.0 && share <= 1.0, "a view shows a share of a picture, not {share}");
    let shorter = (height.max(width) as f64 / share) as usize;
    let (rows, cols) = (picture.height, picture.width);
    let scaled = match rows <= cols {
        true => (shorter, shorter * cols / rows),
        false => (shorter * rows / cols, shorter),
    };
    centre_of(picture, scaled, (height, width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decode;
    use crate::rng::Stream;
    use std::path::Path;

    fn rng(index: u64) -> Rng {
        Rng::new(11, Stream::Augment, 0, index)
    }

    /// What torchvision's Resize and CenterCrop make with Pillow.
    #[test]
    fn evaluation_views_are_torchvisions() {
        #[derive(serde::Deserialize)]
        struct View {
            picture: String,
            size: usize,
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/classify");
        let views: Vec<View> = serde_json::from_slice(&std::fs::read(folder.join("views.json")).unwrap()).unwrap();
        for View { picture, size } in views {
            let [source, expected] =
                ["in", "out"].map(|side| decode(&folder.join(format!("{picture}_{side}.png")), 3).unwrap());
            let got = evaluation_crop(&source, size, size, 0.875);
            assert_eq!(got, expected, "{picture}");
        }
        let picture = Picture { height: 40, width: 50, channels: 1, pixels: vec![7; 2000] };
        let view = evaluation_crop(&picture, 32, 32, crop_share(32));
        assert_eq!(view, resize_centre(&picture, 32, 32), "small views are not cut at the sides");
        assert_eq!([32, 33, 224, 383, 384].map(crop_share), [1.0, 0.875, 0.875, 0.875, 1.0]);
    }

    #[test]
    fn random_crops_have_the_published_areas_and_ratios() {
        let crops: Vec<CropBox> = (0..4000).map(|index| random_crop(480, 640, 0.2, &mut rng(index))).collect();
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
    fn the_smallest_area_is_the_one_asked_for() {
        let crops = (0..4000).map(|index| random_crop(480, 640, 0.08, &mut rng(index)));
        let areas: Vec<f64> = crops.map(|c| (c.height * c.width) as f64 / (480.0 * 640.0)).collect();
        let share = |limit| areas.iter().filter(|area| **area < limit).count() as f64 / 4000.0;
        assert_eq!(share(0.078), 0.0);
        // Of uniform areas; large ones are refused where they do not fit, so small ones are a few more.
        assert!((0.12..0.18).contains(&share(0.2)), "{}", share(0.2));
    }

    /// The picture has 1 to 30 in its cells, so what is black comes from outside.
    #[test]
    fn a_shifted_picture_is_black_where_there_was_none() {
        let picture = Picture { height: 5, width: 6, channels: 3, pixels: (0..90).map(|at| at / 3 + 1).collect() };
        let mut shifts = std::collections::BTreeMap::new();
        for index in 0..4000 {
            let view = pad_crop(&picture, 2, &mut rng(index));
            let cell = |y: isize, x: isize| {
                let inside = (0..5).contains(&y) && (0..6).contains(&x);
                if inside { (y * 6 + x + 1) as u8 } else { 0 }
            };
            let shift = (-2..=2).flat_map(|down| (-2..=2).map(move |right| (down, right))).find(|(down, right)| {
                let expected = (0..90isize).map(|at| cell(at / 18 + down, at / 3 % 6 + right));
                view.pixels.iter().copied().eq(expected)
            });
            *shifts.entry(shift.expect("one of 25 shifts")).or_insert(0usize) += 1;
        }
        assert!(shifts.len() == 25 && shifts.values().all(|count| count.abs_diff(160) < 60), "{shifts:?}");
        let dot = Picture { height: 1, width: 1, channels: 1, pixels: vec![7] };
        let seen = (0..1000).filter(|index| pad_crop(&dot, 4, &mut rng(*index)).pixels == [7]).count();
        assert!((2..30).contains(&seen), "{seen} of 1000 show the only pixel, of 81 places");
    }

    #[test]
    fn pictures_too_narrow_for_a_crop_give_their_middle() {
        let middle = CropBox { top: 49, left: 0, height: 1, width: 1 };
        assert_eq!(random_crop(100, 1, 0.2, &mut rng(0)), middle);
        assert_eq!(random_crop(3, 300, 0.2, &mut rng(0)), CropBox { top: 0, left: 148, height: 3, width: 4 });
        let line = Picture { height: 1, width: 16384, channels: 3, pixels: vec![9; 3 * 16384] };
        assert_eq!(resize_centre(&line, 224, 224).pixels, vec![9; 3 * 224 * 224]);
    }
}
