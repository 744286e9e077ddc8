//! Colour jitter: torchvision's `ColorJitter` of brightness, contrast and saturation, without hue.

use super::colour::{brightness, color, contrast};
use crate::data::Picture;
use crate::rng::Rng;

/// Changes brightness, contrast and saturation, in random order, each by its own factor from 1 − `strength` (at least 0) to
/// 1 + `strength`. The picture has one channel or three.
pub(super) fn color_jitter(picture: &mut Picture, strength: f64, rng: &mut Rng) {
    let mut changes: [fn(&mut Picture, f32); 3] = [brightness, contrast, color];
    rng.shuffle(&mut changes);
    for change in changes {
        change(picture, rng.range((1.0 - strength).max(0.0), 1.0 + strength) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    /// Grey pixels stay grey whatever the order; their distance is scaled by brightness and contrast.
    #[test]
    fn factors_are_uniform_around_one() {
        let start = Picture { height: 1, width: 2, channels: 3, pixels: vec![90, 90, 90, 140, 140, 140] };
        let mut distances = Vec::new();
        for index in 0..4000 {
            let mut picture = start.clone();
            color_jitter(&mut picture, 0.4, &mut Rng::new(5, Stream::Augment, 0, index));
            assert!(picture.pixels[..3].iter().all(|value| *value == picture.pixels[0]));
            distances.push(f64::from(picture.pixels[3] - picture.pixels[0]) / 50.0);
        }
        let mean = |of: &dyn Fn(f64) -> f64| distances.iter().map(|d| of(*d)).sum::<f64>() / 4000.0;
        // Two independent factors of U(0.6, 1.4): the mean is 1, the mean square (1 + 0.8²/12)² = 1.110.
        assert!((mean(&|d| d) - 1.0).abs() < 0.02 && (mean(&|d| d * d) - 1.110).abs() < 0.04);
        assert!(distances.iter().all(|d| (0.32..=2.0).contains(d)) && distances.iter().any(|d| *d > 1.7));
    }

    #[test]
    fn saturation_changes_colour_and_the_order_matters() {
        let start = Picture { height: 1, width: 2, channels: 3, pixels: vec![200, 40, 90, 10, 160, 60] };
        let view = |index, strength| {
            let mut picture = start.clone();
            color_jitter(&mut picture, strength, &mut Rng::new(5, Stream::Augment, 0, index));
            picture
        };
        assert_eq!(view(1, 0.0), start);
        let spread = |picture: &Picture| i32::from(picture.pixels[0]) - i32::from(picture.pixels[1]);
        let spreads: Vec<i32> = (0..200).map(|index| spread(&view(index, 0.4))).collect();
        assert!(spreads.iter().any(|s| *s < 100) && spreads.iter().any(|s| *s > 220), "{spreads:?}");
    }
}
