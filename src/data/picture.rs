//! Eight-bit pixels in memory, and what is done to them without decoding or scaling.

use super::Normalisation;

/// An image of 8-bit values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Rows of pixels, at least 1.
    pub height: usize,
    /// Columns of pixels, at least 1.
    pub width: usize,
    /// Values of a pixel: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    pub channels: usize,
    /// `[height, width, channels]`, row by row, the values of a pixel side by side.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Refuses, in words, a picture without pixels or whose `pixels` are not as many as its sizes say.
    pub fn check(&self) -> Result<(), String> {
        let &Picture { height, width, channels, .. } = self;
        if height == 0 || width == 0 || !(1..=4).contains(&channels) {
            return Err(format!("a picture of {height}×{width} pixels of {channels} channels does not exist"));
        }
        let values = height.checked_mul(width).and_then(|n| n.checked_mul(channels));
        if values != Some(self.pixels.len()) {
            let got = self.pixels.len();
            return Err(format!("{height}×{width} pixels of {channels} channels are not {got} values"));
        }
        Ok(())
    }

    /// The same picture with `channels` values a pixel. Colour becomes grey as in ITU-R 601-2 (0.299 R + 0.587 G +
    /// 0.114 B, rounded); a missing alpha is opaque; a surplus alpha is dropped, not blended.
    ///
    /// # Panics
    /// When `channels` is not 1 to 4.
    pub fn with_channels(self, channels: usize) -> Picture {
        assert!((1..=4).contains(&channels), "a picture has 1 to 4 channels, not {channels}");
        if self.channels == channels {
            return self;
        }
        let mut pixels = Vec::with_capacity(self.height * self.width * channels);
        for pixel in self.pixels.chunks_exact(self.channels) {
            let (rgb, alpha) = match *pixel {
                [v] => ([v; 3], 255),
                [v, alpha] => ([v; 3], alpha),
                [r, g, b] => ([r, g, b], 255),
                [r, g, b, alpha] => ([r, g, b], alpha),
                _ => unreachable!("chunks of 1 to 4 values"),
            };
            match channels {
                1 => pixels.push(luma(rgb)),
                2 => pixels.extend([luma(rgb), alpha]),
                3 => pixels.extend(rgb),
                _ => pixels.extend([rgb[0], rgb[1], rgb[2], alpha]),
            }
        }
        Picture { channels, pixels, ..self }
    }

    /// Mirrors the picture left to right.
    pub fn flip(&mut self) {
        for row in self.pixels.chunks_exact_mut(self.width * self.channels) {
            match self.channels {
                1 => row.reverse(),
                2 => row.as_chunks_mut::<2>().0.reverse(),
                3 => row.as_chunks_mut::<3>().0.reverse(),
                _ => row.as_chunks_mut::<4>().0.reverse(),
            }
        }
    }

    /// The network's input: `[channels, height, width]`, every value v of 0 to 255 as (v/255 − mean) / std of its channel,
    /// so −1 to 1 by [`Normalisation::INCEPTION`].
    pub fn normalise(&self, by: &Normalisation) -> Vec<f32> {
        match self.channels {
            1 => planes::<1>(&self.pixels, by),
            2 => planes::<2>(&self.pixels, by),
            3 => planes::<3>(&self.pixels, by),
            _ => planes::<4>(&self.pixels, by),
        }
    }

    /// The picture whose [`Picture::normalise`] is nearest to `values`, `[channels, height, width]`; values beyond black
    /// and white are cut off and NaN becomes 0.
    ///
    /// # Panics
    /// When `values` are not `channels · height · width` many.
    pub fn from_normalised(
        values: &[f32],
        by: &Normalisation,
        channels: usize,
        height: usize,
        width: usize,
    ) -> Picture {
        let area = height * width;
        assert_eq!(values.len(), channels * area, "one value per channel and pixel");
        let units: Vec<(f32, f32)> = (0..channels).map(|c| by.of_channel(c, channels)).collect();
        let byte =
            |at: usize, c: usize, (mean, std): (f32, f32)| ((values[c * area + at] * std + mean) * 255.0).round() as u8;
        let pixel = |at| units.iter().enumerate().map(move |(c, unit)| byte(at, c, *unit));
        let pixels = (0..area).flat_map(pixel).collect();
        Picture { height, width, channels, pixels }
    }
}

/// Each channel of pixels of C channels by itself, normalised.
fn planes<const C: usize>(pixels: &[u8], by: &Normalisation) -> Vec<f32> {
    let (pixels, _) = pixels.as_chunks::<C>();
    let mut normalised = vec![0.0; pixels.len() * C];
    for (c, plane) in normalised.chunks_exact_mut(pixels.len().max(1)).enumerate() {
        let (mean, std) = by.of_channel(c, C);
        let values: [f32; 256] = std::array::from_fn(|v| (v as f32 / 255.0 - mean) / std);
        for (value, pixel) in plane.iter_mut().zip(pixels) {
            *value = values[usize::from(pixel[c])];
        }
    }
    normalised
}

/// The brightness of a colour in ITU-R 601-2, in 16-bit fixed point, rounded.
pub(super) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(channels: usize, pixels: &[u8]) -> Picture {
        Picture { height: 1, width: pixels.len() / channels, channels, pixels: pixels.to_vec() }
    }

    #[test]
    fn channels_convert_as_their_names_say() {
        let colour = picture(4, &[255, 0, 0, 7, 10, 20, 30, 255]);
        assert_eq!(colour.clone().with_channels(3).pixels, [255, 0, 0, 10, 20, 30]);
        assert_eq!(colour.clone().with_channels(2).pixels, [76, 7, 18, 255]);
        assert_eq!(colour.with_channels(1).pixels, [76, 18]);
        let grey = picture(1, &[0, 128, 255]);
        assert_eq!(grey.clone().with_channels(3).pixels, [0, 0, 0, 128, 128, 128, 255, 255, 255]);
        assert_eq!(grey.clone().with_channels(4).with_channels(1), grey);
    }

    #[test]
    fn flip_mirrors_pixels_and_keeps_their_channels() {
        let mut picture = picture(3, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        picture.flip();
        assert_eq!(picture.pixels, [7, 8, 9, 4, 5, 6, 1, 2, 3]);
    }

    #[test]
    fn normalise_puts_channels_first_and_values_between_minus_one_and_one() {
        let colours = picture(3, &[0, 51, 255, 255, 0, 102]);
        let values = colours.normalise(&Normalisation::INCEPTION);
        for (value, expected) in values.iter().zip([-1.0, 1.0, -0.6, -1.0, 1.0, -0.2]) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
        assert_eq!(Picture::from_normalised(&values, &Normalisation::INCEPTION, 3, 1, 2), colours);
        let values = colours.normalise(&Normalisation::IMAGENET);
        for (value, expected) in values.iter().zip([-0.485, 0.515, -0.256, -0.456, 0.594, -0.006].iter().enumerate()) {
            let std = [0.229, 0.224, 0.225][expected.0 / 2];
            assert!((value - expected.1 / std).abs() < 1e-6, "{values:?}");
        }
    }

    #[test]
    fn every_eight_bit_value_survives_normalising() {
        for channels in 1..=4 {
            let all = picture(1, &(0..=255).collect::<Vec<u8>>()).with_channels(channels);
            for by in [Normalisation::INCEPTION, Normalisation::IMAGENET] {
                assert_eq!(Picture::from_normalised(&all.normalise(&by), &by, channels, 1, 256), all);
            }
        }
    }

    /// The bits of images are part of what a seed and a checkpoint mean.
    #[test]
    fn inception_is_twice_the_share_of_white_less_one() {
        let all = picture(1, &(0..=255).collect::<Vec<u8>>());
        let values = all.normalise(&Normalisation::INCEPTION);
        let expected = |v: u32| (v as f32 / 255.0 - 0.5) / 0.5;
        assert!(values.iter().zip(0..).all(|(value, v)| value.to_bits() == expected(v).to_bits()));
    }

    #[test]
    fn a_picture_with_missing_pixels_is_refused() {
        assert!(Picture { height: 2, ..picture(3, &[0; 9]) }.check().unwrap_err().contains("2×3 pixels of 3 channels"));
        assert!(picture(3, &[0; 9]).check().is_ok());
        assert!(Picture { height: 0, width: 0, channels: 3, pixels: vec![] }.check().is_err());
    }
}
