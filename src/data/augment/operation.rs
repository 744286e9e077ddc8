//! The operations that RandAugment draws from.

use super::{colour, geometry};
use crate::data::Picture;

/// An operation by timm's name: the set `_RAND_INCREASING_TRANSFORMS`, whose effects grow with the magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Stretches each channel to 0 to 255.
    AutoContrast,
    /// Makes the values of each channel about equally frequent.
    Equalize,
    /// Turns each value v into 255 − v.
    Invert,
    /// Turns the picture anticlockwise about its middle, by degrees.
    Rotate,
    /// Keeps the highest bits of each value, so many.
    PosterizeIncreasing,
    /// Inverts the values from a threshold on.
    SolarizeIncreasing,
    /// Adds to the values below 128.
    SolarizeAdd,
    /// Blends from grey by a factor.
    ColorIncreasing,
    /// Blends from the mean grey by a factor.
    ContrastIncreasing,
    /// Blends from black by a factor.
    BrightnessIncreasing,
    /// Blends from the smoothed picture by a factor.
    SharpnessIncreasing,
    /// Moves each row by a share of its distance from the upper edge.
    ShearX,
    /// Moves each column by a share of its distance from the left edge.
    ShearY,
    /// Moves the picture to the left by a share of its width.
    TranslateXRel,
    /// Moves the picture up by a share of its height.
    TranslateYRel,
}

use Operation::*;

impl Operation {
    /// All of them, in timm's order.
    pub const ALL: [Operation; 15] = [
        AutoContrast,
        Equalize,
        Invert,
        Rotate,
        PosterizeIncreasing,
        SolarizeIncreasing,
        SolarizeAdd,
        ColorIncreasing,
        ContrastIncreasing,
        BrightnessIncreasing,
        SharpnessIncreasing,
        ShearX,
        ShearY,
        TranslateXRel,
        TranslateYRel,
    ];

    /// What a magnitude of 0 to 10 means to an operation, in the other direction if `negative` where it has two: degrees,
    /// a share of the picture, bits kept, a threshold, an addend, or the factor of a blend. 0 for those that take none.
    pub fn argument(self, magnitude: f64, negative: bool) -> f64 {
        let level = magnitude / 10.0;
        let signed = |value: f64| if negative { -value } else { value };
        match self {
            AutoContrast | Equalize | Invert => 0.0,
            Rotate => signed(level * 30.0),
            PosterizeIncreasing => 4.0 - (level * 4.0).trunc(),
            SolarizeIncreasing => 256.0 - (level * 256.0).trunc().min(256.0),
            SolarizeAdd => (level * 110.0).trunc().min(128.0),
            ColorIncreasing | ContrastIncreasing | BrightnessIncreasing | SharpnessIncreasing => {
                (1.0 + signed(level * 0.9)).max(0.1)
            }
            ShearX | ShearY => signed(level * 0.3),
            TranslateXRel | TranslateYRel => signed(level * 0.45),
        }
    }

    /// Carries it out on a picture of one channel or three, as Pillow does. `fill`, a value for each channel, is what the
    /// geometric ones bring in from outside.
    pub fn apply(self, mut picture: Picture, argument: f64, fill: &[u8]) -> Picture {
        let factor = argument as f32;
        match self {
            AutoContrast => colour::auto_contrast(&mut picture),
            Equalize => colour::equalize(&mut picture),
            Invert => colour::invert(&mut picture),
            PosterizeIncreasing => colour::posterize(&mut picture, argument as u32),
            SolarizeIncreasing => colour::solarize(&mut picture, argument as u16),
            SolarizeAdd => colour::solarize_add(&mut picture, argument as u8),
            ColorIncreasing => colour::color(&mut picture, factor),
            ContrastIncreasing => colour::contrast(&mut picture, factor),
            BrightnessIncreasing => colour::brightness(&mut picture, factor),
            SharpnessIncreasing => colour::sharpness(&mut picture, factor),
            Rotate => return geometry::rotate(&picture, argument, fill),
            ShearX => return geometry::shear_x(&picture, argument, fill),
            ShearY => return geometry::shear_y(&picture, argument, fill),
            TranslateXRel => return geometry::translate_x(&picture, argument, fill),
            TranslateYRel => return geometry::translate_y(&picture, argument, fill),
        }
        picture
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decode;
    use std::path::{Path, PathBuf};

    #[derive(serde::Deserialize)]
    struct Case {
        operation: String,
        argument: Option<f64>,
    }

    #[derive(serde::Deserialize)]
    struct Level {
        operation: String,
        magnitude: f64,
        negative: bool,
        argument: Option<f64>,
    }

    /// What Pillow and timm answer. A picture's answers lie one below the other in one file.
    #[derive(serde::Deserialize)]
    struct Answers {
        fill: [u8; 3],
        pictures: Vec<Vec<Case>>,
        levels: Vec<Level>,
    }

    fn answers() -> (PathBuf, Answers) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/classify");
        let text = std::fs::read(folder.join("operations.json")).unwrap();
        (folder, serde_json::from_slice(&text).unwrap())
    }

    fn named(name: &str) -> Operation {
        Operation::ALL.into_iter().find(|operation| format!("{operation:?}") == name).unwrap()
    }

    #[test]
    fn every_operation_gives_pillows_bytes() {
        let (folder, Answers { fill, pictures, .. }) = answers();
        let mut tried = std::collections::BTreeSet::new();
        for (number, cases) in pictures.iter().enumerate() {
            let [source, expected] =
                ["in", "out"].map(|side| decode(&folder.join(format!("operations_{number}_{side}.png")), 3).unwrap());
            let expected = expected.pixels.chunks_exact(source.pixels.len());
            assert_eq!(expected.len(), cases.len());
            for (case, expected) in cases.iter().zip(expected) {
                let operation = named(&case.operation);
                let argument = case.argument.unwrap_or_default();
                let got = operation.apply(source.clone(), argument, &fill);
                let other = got.pixels.iter().zip(expected).filter(|(a, b)| a != b).count();
                assert_eq!(other, 0, "values of picture {number} after {operation:?} {argument}");
                tried.insert(operation);
            }
        }
        assert_eq!(tried.len(), 15);
    }

    #[test]
    fn magnitudes_mean_what_they_mean_to_timm() {
        let (_, Answers { levels, .. }) = answers();
        assert_eq!(levels.len(), 270);
        for level in levels {
            let got = named(&level.operation).argument(level.magnitude, level.negative);
            assert_eq!(got, level.argument.unwrap_or_default(), "{} {}", level.operation, level.magnitude);
        }
    }

    /// Grey as one channel and grey as three equal ones are one picture.
    #[test]
    fn grey_is_treated_as_a_colour_without_colour() {
        let pixels = (0..300).map(|at| (at * at % 251) as u8).collect();
        let grey = Picture { height: 15, width: 20, channels: 1, pixels };
        for operation in Operation::ALL {
            let argument = operation.argument(8.7, true);
            let one = operation.apply(grey.clone(), argument, &[99]);
            let three = operation.apply(grey.clone().with_channels(3), argument, &[99; 3]);
            assert_eq!(one.with_channels(3), three, "{operation:?}");
        }
    }

    #[test]
    fn pictures_of_a_pixel_or_a_line_are_no_trouble() {
        for (height, width) in [(1, 1), (1, 7), (7, 1), (2, 2)] {
            let picture = Picture { height, width, channels: 3, pixels: vec![40; 3 * height * width] };
            for operation in Operation::ALL {
                let got = operation.apply(picture.clone(), operation.argument(9.0, false), &[1, 2, 3]);
                assert_eq!(got.check(), Ok(()), "{operation:?}");
            }
        }
    }
}
