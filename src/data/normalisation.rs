//! What a network takes for the middle and the unit of each colour.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Mean and standard deviation of red, green and blue, as shares of full brightness. A pixel's value v of 0 to 255 reaches
/// the network as (v/255 − mean) / std. It belongs to the weights: with another one, features are wrong and nothing says
/// so.
///
/// In files it is a name where it has one, otherwise a table of `mean` and `std`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// What becomes 0.
    pub mean: [f32; 3],
    /// What becomes 1 away from it; above 0.
    pub std: [f32; 3],
}

/// The normalisations with names.
const NAMED: [(&str, Normalisation); 2] =
    [("inception", Normalisation::INCEPTION), ("imagenet", Normalisation::IMAGENET)];

impl Normalisation {
    /// Values of −1 to 1, as BootMAE, BEiT and Inception have them.
    pub const INCEPTION: Normalisation = Normalisation { mean: [0.5; 3], std: [0.5; 3] };

    /// The mean and standard deviation of ImageNet's pixels, as MAE, DeiT and most of timm have them.
    pub const IMAGENET: Normalisation = Normalisation { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

    /// The normalisation by these, if pixels can be normalised by them: all finite, deviations above 0.
    pub fn of(mean: [f32; 3], std: [f32; 3]) -> Option<Normalisation> {
        let sound = mean.iter().all(|v| v.is_finite()) && std.iter().all(|v| v.is_finite() && *v > 0.0);
        sound.then_some(Normalisation { mean, std })
    }

    /// The normalisation of a name, `inception` or `imagenet`.
    pub fn named(name: &str) -> Option<Normalisation> {
        NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, normalisation)| normalisation)
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&'static str> {
        NAMED.into_iter().find(|(_, known)| known == self).map(|(name, _)| name)
    }

    /// Mean and standard deviation of channel `channel` of pixels with `channels` values. Grey has the mean of the three
    /// colours' (timm's rule for one channel); alpha goes from −1 to 1.
    pub fn of_channel(&self, channel: usize, channels: usize) -> (f32, f32) {
        let grey = |of: [f32; 3]| (of.into_iter().map(f64::from).sum::<f64>() / 3.0) as f32;
        match (channels, channel) {
            (1 | 2, 0) => (grey(self.mean), grey(self.std)),
            (3 | 4, 0..=2) => (self.mean[channel], self.std[channel]),
            _ => (0.5, 0.5),
        }
    }
}

impl Default for Normalisation {
    fn default() -> Normalisation {
        Normalisation::INCEPTION
    }
}

/// A normalisation without a name, in a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    mean: [f32; 3],
    std: [f32; 3],
}

impl Serialize for Normalisation {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.name() {
            Some(name) => to.serialize_str(name),
            None => Numbers { mean: self.mean, std: self.std }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Normalisation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Normalisation, D::Error> {
        from.deserialize_any(NameOrNumbers)
    }
}

struct NameOrNumbers;

impl<'de> de::Visitor<'de> for NameOrNumbers {
    type Value = Normalisation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"inception\", \"imagenet\" or a table of `mean` and `std` with three numbers each")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Normalisation, E> {
        Normalisation::named(name).ok_or_else(|| E::invalid_value(de::Unexpected::Str(name), &self))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Normalisation, A::Error> {
        let Numbers { mean, std } = Numbers::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Normalisation::of(mean, std).ok_or_else(|| {
            de::Error::custom(format!(
                "pixels cannot be normalised by the mean {mean:?} and the standard deviation {std:?}: they must be finite, \
                 and the latter above 0"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_written_and_read() {
        let own = Normalisation { mean: [0.1, 0.2, 0.3], std: [1.0, 0.5, 0.25] };
        for (normalisation, text) in [
            (Normalisation::INCEPTION, r#""inception""#),
            (Normalisation::IMAGENET, r#""imagenet""#),
            (own, r#"{"mean":[0.1,0.2,0.3],"std":[1.0,0.5,0.25]}"#),
        ] {
            assert_eq!(serde_json::to_string(&normalisation).unwrap(), text);
            assert_eq!(serde_json::from_str::<Normalisation>(text).unwrap(), normalisation);
        }
        let published = r#"{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}"#;
        assert_eq!(serde_json::from_str::<Normalisation>(published).unwrap().name(), Some("imagenet"));
    }

    #[test]
    fn others_are_refused_with_what_is_possible() {
        let refused = |text: &str| serde_json::from_str::<Normalisation>(text).unwrap_err().to_string();
        assert!(refused(r#""imagnet""#).contains(r#""inception", "imagenet" or a table"#));
        assert!(refused(r#"{"mean": [0, 0, 0], "std": [1, 0, 1]}"#).contains("above 0"));
        assert!(refused(r#"{"mean": [0, 0, 0]}"#).contains("std"));
    }

    #[test]
    fn one_channel_has_the_mean_of_three_and_alpha_is_no_colour() {
        let near = |(a, b): (f32, f32), c: f32, d: f32| (a - c).abs() < 1e-6 && (b - d).abs() < 1e-6;
        assert!(near(Normalisation::IMAGENET.of_channel(0, 1), 0.449, 0.226));
        assert!(near(Normalisation::IMAGENET.of_channel(0, 2), 0.449, 0.226));
        assert_eq!(Normalisation::IMAGENET.of_channel(1, 4), (0.456, 0.224));
        assert_eq!(Normalisation::IMAGENET.of_channel(1, 2), (0.5, 0.5));
        assert_eq!(Normalisation::IMAGENET.of_channel(3, 4), (0.5, 0.5));
        assert_eq!(Normalisation::INCEPTION.of_channel(0, 1), (0.5, 0.5));
    }
}
