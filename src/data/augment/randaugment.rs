//! RandAugment (Cubuk, Zoph, Shlens and Le, 2020) as timm does it and BEiT, MAE and BootMAE fine-tune with it.

use std::str::FromStr;

use super::operation::Operation;
use crate::data::Picture;
use crate::rng::Rng;

/// The largest magnitude that is carried out; timm cuts larger ones to it.
const MOST: f64 = 10.0;

/// A policy: operations drawn uniformly with replacement from the fifteen of [`Operation`], each carried out half of the
/// time, with a magnitude from a normal distribution cut to 0 to 10.
///
/// Its text is timm's, `rand-m9-mstd0.5-inc1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandAugment {
    /// `m`: the mean of the magnitudes.
    pub magnitude: f64,
    /// `mstd`: their standard deviation.
    pub deviation: f64,
    /// `n`: how many operations are drawn for a picture.
    pub operations: usize,
}

impl FromStr for RandAugment {
    type Err = String;

    /// Reads `rand-mM-mstdS-incI[-nN]`. Without `mstd` all magnitudes are M; without `n` there are two operations. `inc1`
    /// must stand there: the operations of `inc0` are not known here, and timm reads `inc0` in two ways.
    fn from_str(text: &str) -> Result<RandAugment, String> {
        let refused = |reason: String| {
            format!(
                "auto_augment = \"{text}\": {reason}; known is rand-mM-mstdS-inc1-nN (magnitude, its deviation, increasing \
                 operations, their number), such as rand-m9-mstd0.5-inc1"
            )
        };
        let mut sections = text.split('-');
        if sections.next() != Some("rand") {
            return Err(refused("the policy is not `rand`".into()));
        }
        let (mut magnitude, mut deviation, mut operations, mut increasing) = (None, None, None, None);
        for section in sections {
            let digits = section.find(|c: char| c.is_ascii_digit()).unwrap_or(section.len());
            let (key, value) = section.split_at(digits);
            let whole = |most: usize| match value.parse::<usize>() {
                Ok(value) if value <= most => Ok(value),
                _ => Err(refused(format!("`{section}` needs a whole number of 0 to {most}"))),
            };
            let again = match key {
                "m" => magnitude.replace(whole(100)?).is_some(),
                "n" => operations.replace(whole(100)?).is_some(),
                "inc" => increasing.replace(whole(1)?).is_some(),
                "mstd" => match value.parse::<f64>() {
                    Ok(value) if value <= 100.0 => deviation.replace(value).is_some(),
                    _ => return Err(refused(format!("`{section}` needs a number of 0 to 100"))),
                },
                _ => return Err(refused(format!("`{section}` is not understood"))),
            };
            if again {
                return Err(refused(format!("`{key}` stands there twice")));
            }
        }
        let magnitude = magnitude.ok_or_else(|| refused("`m` is missing".into()))? as f64;
        if increasing != Some(1) {
            return Err(refused("`inc1` is missing".into()));
        }
        Ok(RandAugment { magnitude, deviation: deviation.unwrap_or(0.0), operations: operations.unwrap_or(2) })
    }
}

impl RandAugment {
    /// One operation with its magnitude and whether that is negative, or none half of the time.
    pub fn draw(&self, rng: &mut Rng) -> Option<(Operation, f64, bool)> {
        let operation = Operation::ALL[rng.below(Operation::ALL.len())];
        if rng.uniform() < 0.5 {
            return None;
        }
        let magnitude = (self.magnitude + self.deviation * rng.normal()).clamp(0.0, MOST);
        Some((operation, magnitude, rng.uniform() < 0.5))
    }

    /// Draws as many operations as it has and carries them out one after the other. The picture has one channel or three,
    /// `fill` a value for each.
    pub fn apply(&self, mut picture: Picture, fill: &[u8], rng: &mut Rng) -> Picture {
        for _ in 0..self.operations {
            if let Some((operation, magnitude, negative)) = self.draw(rng) {
                picture = operation.apply(picture, operation.argument(magnitude, negative), fill);
            }
        }
        picture
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn timms_texts_are_read() {
        let published = RandAugment { magnitude: 9.0, deviation: 0.5, operations: 2 };
        assert_eq!("rand-m9-mstd0.5-inc1".parse(), Ok(published));
        assert_eq!("rand-inc1-mstd0.5-n2-m9".parse(), Ok(published));
        assert_eq!("rand-m7-inc1-n3".parse(), Ok(RandAugment { magnitude: 7.0, deviation: 0.0, operations: 3 }));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, reason) in [
            ("original", "not `rand`"),
            ("rand", "`m` is missing"),
            ("rand-m9-mstd0.5", "`inc1` is missing"),
            ("rand-m9-mstd0.5-inc0", "`inc1` is missing"),
            ("rand-m9.5-inc1", "`m9.5` needs a whole number of 0 to 100"),
            ("rand-m9-mstd101-inc1", "`mstd101` needs a number of 0 to 100"),
            ("rand-m9-mstd-inc1", "`mstd` needs a number"),
            ("rand-m9-mmax20-inc1", "`mmax20` is not understood"),
            ("rand-m9-m8-inc1", "`m` stands there twice"),
            ("rand-m9--inc1", "`` is not understood"),
        ] {
            let refused = text.parse::<RandAugment>().unwrap_err();
            assert!(refused.contains(reason) && refused.contains("rand-m9-mstd0.5-inc1"), "{refused}");
        }
    }

    #[test]
    fn operations_magnitudes_and_signs_are_drawn_as_published() {
        let policy = RandAugment { magnitude: 9.0, deviation: 0.5, operations: 2 };
        let mut rng = Rng::new(3, Stream::Augment, 0, 0);
        let drawn: Vec<_> = (0..60_000).filter_map(|_| policy.draw(&mut rng)).collect();
        assert!(drawn.len().abs_diff(30_000) < 400, "{} of 60,000 carried out", drawn.len());
        for operation in Operation::ALL {
            let count = drawn.iter().filter(|draw| draw.0 == operation).count();
            assert!(count.abs_diff(2000) < 200, "{operation:?}: {count}");
        }
        let share = |wanted: &dyn Fn(&(Operation, f64, bool)) -> bool| {
            drawn.iter().filter(|draw| wanted(draw)).count() as f64 / drawn.len() as f64
        };
        // Normal, mean 9 and deviation ½: 2.3 % lie above 10 and are cut to it.
        for (below, expected) in [(8.0, 0.0228), (8.5, 0.1587), (9.0, 0.5), (9.5, 0.8413), (10.0, 0.9772)] {
            let got = share(&|draw| draw.1 < below);
            assert!((got - expected).abs() < 0.012, "{got} below {below}");
        }
        assert!(drawn.iter().all(|draw| (6.0..=10.0).contains(&draw.1)));
        assert!((share(&|draw| draw.2) - 0.5).abs() < 0.012);
    }

    #[test]
    fn a_quarter_of_the_pictures_stays_and_the_draw_decides() {
        let policy: RandAugment = "rand-m9-mstd0.5-inc1".parse().unwrap();
        let pixels = (0..27 * 31 * 3).map(|at| (at * 37 % 241) as u8).collect();
        let picture = Picture { height: 27, width: 31, channels: 3, pixels };
        let view = |index| policy.apply(picture.clone(), &[128; 3], &mut Rng::new(3, Stream::Augment, 0, index));
        let unchanged = (0..2000).filter(|index| view(*index) == picture).count();
        assert!(unchanged.abs_diff(500) < 90, "{unchanged} of 2000");
        assert_eq!(view(7), view(7));
    }
}
