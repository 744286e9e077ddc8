//! Random erasing (Zhong, Zheng, Kang, Li and Yang, 2020) in timm's mode `pixel`.

use super::scale::CropBox;
use crate::rng::Rng;

/// The share of an image's area that is erased.
const AREA: (f64, f64) = (0.02, 1.0 / 3.0);

/// The height-to-width ratio of what is erased.
const ASPECT: (f64, f64) = (0.3, 1.0 / 0.3);

/// Replaces a rectangle of a normalised image, `[channels, height, width]`, by numbers of mean 0 and standard deviation 1,
/// each pixel and channel its own.
pub(super) fn erase(image: &mut [f32], height: usize, width: usize, rng: &mut Rng) {
    let Some(hole) = hole(height, width, rng) else { return };
    for plane in image.chunks_exact_mut(height * width) {
        for line in plane.chunks_exact_mut(width).skip(hole.top).take(hole.height) {
            rng.fill_normal(&mut line[hole.left..hole.left + hole.width]);
        }
    }
}

/// The rectangle. Up to ten times: an area, a ratio (log-uniform), and if the rectangle is smaller than the image both
/// ways, its top and left. None, if none of them is. It may be empty in images of a few pixels.
fn hole(height: usize, width: usize, rng: &mut Rng) -> Option<CropBox> {
    let area = (height * width) as f64;
    for _ in 0..10 {
        let target = area * rng.range(AREA.0, AREA.1);
        let ratio = libm::exp(rng.range(libm::log(ASPECT.0), libm::log(ASPECT.1)));
        let h = libm::sqrt(target * ratio).round_ties_even() as usize;
        let w = libm::sqrt(target / ratio).round_ties_even() as usize;
        if h < height && w < width {
            return Some(CropBox {
                top: rng.below(height - h + 1),
                left: rng.below(width - w + 1),
                height: h,
                width: w,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    fn rng(index: u64) -> Rng {
        Rng::new(13, Stream::Augment, 0, index)
    }

    #[test]
    fn holes_have_the_published_areas_ratios_and_places() {
        let holes: Vec<CropBox> = (0..8000).map(|index| hole(224, 224, &mut rng(index)).unwrap()).collect();
        let share = |wanted: &dyn Fn(&CropBox) -> bool| holes.iter().filter(|h| wanted(h)).count() as f64 / 8000.0;
        let area = |h: &CropBox| (h.height * h.width) as f64 / (224.0 * 224.0);
        let ratio = |h: &CropBox| h.height as f64 / h.width as f64;
        assert!(holes.iter().all(|h| (0.0195..0.34).contains(&area(h)) && (0.29..3.45).contains(&ratio(h))));
        // Uniform areas, log-uniform ratios.
        for (below, expected) in [(0.02 + 0.3133 / 4.0, 0.25), (0.02 + 0.3133 / 2.0, 0.5)] {
            let got = share(&|h| area(h) < below);
            assert!((got - expected).abs() < 0.025, "{got} below {below}");
        }
        assert!((share(&|h| ratio(h) < 1.0) - 0.5).abs() < 0.025);
        assert!((share(&|h| ratio(h) < 0.5477) - 0.25).abs() < 0.025);
        assert!(holes.iter().all(|h| h.top + h.height <= 224 && h.left + h.width <= 224));
        assert!(holes.iter().any(|h| h.top == 0) && holes.iter().any(|h| h.left + h.width == 224));
        let off_centre = |h: &CropBox| (h.top as f64 + h.height as f64 / 2.0) / 224.0 - 0.5;
        assert!(holes.iter().map(off_centre).sum::<f64>().abs() / 8000.0 < 0.01);
    }

    #[test]
    fn what_is_erased_is_noise_and_the_rest_stays() {
        let (mut values, mut outside) = (Vec::new(), 0);
        for index in 0..20 {
            let mut image = vec![7.0; 3 * 40 * 50];
            erase(&mut image, 40, 50, &mut rng(index));
            let CropBox { top, left, height, width } = hole(40, 50, &mut rng(index)).unwrap();
            for (at, value) in image.iter().enumerate() {
                let (row, column) = (at / 50 % 40, at % 50);
                match (top..top + height).contains(&row) && (left..left + width).contains(&column) {
                    true => values.push(f64::from(*value)),
                    false => outside += usize::from(*value != 7.0),
                }
            }
        }
        let moment = |k| values.iter().map(|v| f64::powi(*v, k)).sum::<f64>() / values.len() as f64;
        assert_eq!(outside, 0);
        assert!(values.len() > 10_000 && moment(1).abs() < 0.04 && (moment(2) - 1.0).abs() < 0.05);
        assert!(values.windows(2).all(|pair| pair[0] != pair[1]), "each value is its own");
    }

    #[test]
    fn an_image_that_no_hole_is_smaller_than_stays() {
        let mut line = vec![7.0; 30];
        (0..50).for_each(|index| erase(&mut line, 1, 30, &mut rng(index)));
        assert_eq!(line, [7.0; 30]);
        let mut dot = vec![7.0];
        (0..50).for_each(|index| erase(&mut dot, 1, 1, &mut rng(index)));
        assert_eq!(dot, [7.0]);
    }
}
