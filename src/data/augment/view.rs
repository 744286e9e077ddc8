//! The whole chain from a decoded picture to what a network sees of it in training.

use serde::{Deserialize, Serialize};

use super::crop::{pad_crop, random_crop};
use super::erase::erase;
use super::jitter::color_jitter;
use super::randaugment::RandAugment;
use super::scale::resize;
use crate::data::{Normalisation, Picture};
use crate::rng::Rng;

/// The largest view that is shifted rather than cropped, in pixels (BootMAE's and DeiT's rule).
const PAD_CROPPED: usize = 32;

/// The pixels by which such a view is shifted at most.
const PAD: usize = 4;

/// What is changed at random in a picture, in this order, before a network sees it. Plain data: [`Views`] does it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// The smallest share of a picture's area that a random crop takes, above 0 to 1.
    pub area_min: f64,
    /// Whether pictures that have the size of the view, of 32 pixels or fewer, are shifted by up to four pixels instead of
    /// cropped and scaled; what comes in is black.
    pub pad_crop: bool,
    /// Whether half of the views are mirrored.
    pub flip: bool,
    /// timm's text for a RandAugment policy, such as `rand-m9-mstd0.5-inc1`, see [`RandAugment`]; none, an empty text and
    /// `none` switch it off.
    pub auto_augment: Option<String>,
    /// How much brightness, contrast and saturation vary where there is no `auto_augment`: their factors are 1 − this to
    /// 1 + this. 0 switches it off.
    pub color_jitter: f64,
    /// How often a rectangle of the view is replaced by noise after normalising, 0 to 1 (timm's `reprob`).
    pub erase: f64,
}

impl Default for Augmentation {
    fn default() -> Augmentation {
        Augmentation::pretraining()
    }
}

impl Augmentation {
    /// What BootMAE and MAE pre-train with: crops of 20 to 100 % of the area, half of them mirrored.
    pub fn pretraining() -> Augmentation {
        Augmentation { area_min: 0.2, pad_crop: false, flip: true, auto_augment: None, color_jitter: 0.0, erase: 0.0 }
    }

    /// What BootMAE and MAE fine-tune with.
    pub fn finetuning() -> Augmentation {
        Augmentation {
            area_min: 0.08,
            pad_crop: true,
            flip: true,
            auto_augment: Some("rand-m9-mstd0.5-inc1".into()),
            color_jitter: 0.4,
            erase: 0.25,
        }
    }

    /// Refuses, in words, what cannot be done to pictures with `channels` values a pixel.
    pub fn check(&self, channels: usize) -> Result<(), String> {
        self.policy()?;
        if !(self.area_min > 0.0 && self.area_min <= 1.0) {
            return Err(format!("area_min, the smallest share of a crop, must be above 0 to 1, not {}", self.area_min));
        }
        if !(0.0..=1.0).contains(&self.erase) {
            return Err(format!("erase, how often a part is erased, must be 0 to 1, not {}", self.erase));
        }
        if !(0.0..=100.0).contains(&self.color_jitter) {
            return Err(format!("color_jitter must be 0 (off) to 100, not {}", self.color_jitter));
        }
        let colours = self.policy()?.is_some() || self.color_jitter > 0.0;
        if colours && !matches!(channels, 1 | 3) {
            return Err(format!(
                "auto_augment and color_jitter change grey or RGB pictures, not those of {channels} channels; switch both \
                 off (auto_augment = \"\", color_jitter = 0)"
            ));
        }
        Ok(())
    }

    /// The policy of `auto_augment`.
    fn policy(&self) -> Result<Option<RandAugment>, String> {
        match self.auto_augment.as_deref() {
            None | Some("" | "none") => Ok(None),
            Some(text) => text.parse().map(Some),
        }
    }
}

/// Makes views of one size as an [`Augmentation`] says.
#[derive(Clone, Debug)]
pub struct Views {
    height: usize,
    width: usize,
    augmentation: Augmentation,
    policy: Option<RandAugment>,
    normalise: Normalisation,
    /// What geometric operations bring in: the mean.
    fill: Vec<u8>,
}

impl Views {
    /// Views of `height`×`width` pixels of pictures with `channels` values a pixel. Refuses what
    /// [`Augmentation::check`] refuses.
    pub fn new(
        augmentation: &Augmentation,
        normalise: Normalisation,
        channels: usize,
        height: usize,
        width: usize,
    ) -> Result<Views, String> {
        augmentation.check(channels)?;
        let byte = |channel| (255.0 * normalise.of_channel(channel, channels).0).round_ties_even() as u8;
        Ok(Views {
            height,
            width,
            augmentation: augmentation.clone(),
            policy: augmentation.policy()?,
            normalise,
            fill: (0..channels).map(byte).collect(),
        })
    }

    /// A view, `[channels, height, width]`.
    ///
    /// # Panics
    /// When the picture does not pass [`Picture::check`], has other channels than said, or a size is 0.
    pub fn make(&self, picture: &Picture, rng: &mut Rng) -> Vec<f32> {
        let chain = &self.augmentation;
        let mut view = self.cropped(picture, rng);
        if chain.flip && rng.uniform() < 0.5 {
            view.flip();
        }
        match &self.policy {
            Some(policy) => view = policy.apply(view, &self.fill, rng),
            None if chain.color_jitter > 0.0 => color_jitter(&mut view, chain.color_jitter, rng),
            None => {}
        }
        let mut values = view.normalise(&self.normalise);
        if chain.erase > 0.0 && rng.uniform() < chain.erase {
            erase(&mut values, self.height, self.width, rng);
        }
        values
    }

    fn cropped(&self, picture: &Picture, rng: &mut Rng) -> Picture {
        let (height, width) = (self.height, self.width);
        let small = height.max(width) <= PAD_CROPPED && (picture.height, picture.width) == (height, width);
        match self.augmentation.pad_crop && small {
            true => pad_crop(picture, PAD, rng),
            false => {
                let crop = random_crop(picture.height, picture.width, self.augmentation.area_min, rng);
                resize(picture, crop, height, width)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    const BY: Normalisation = Normalisation::INCEPTION;

    fn rng(index: u64) -> Rng {
        Rng::new(11, Stream::Augment, 0, index)
    }

    fn noise(height: usize, width: usize, channels: usize) -> Picture {
        let mut noise = Rng::new(1, Stream::Init, 0, 0);
        let pixels = (0..height * width * channels).map(|_| noise.next_u32() as u8).collect();
        Picture { height, width, channels, pixels }
    }

    fn views(augmentation: &Augmentation, side: usize) -> Views {
        Views::new(augmentation, BY, 3, side, side).unwrap()
    }

    fn off() -> Augmentation {
        Augmentation { flip: false, ..Augmentation::pretraining() }
    }

    /// Runs that are resumed, and figures that are published, depend on it.
    #[test]
    fn pretraining_shows_what_a_seed_has_always_shown() {
        let (picture, views) = (noise(48, 37, 3), views(&Augmentation::default(), 32));
        let mut digest = blake3::Hasher::new();
        for index in 0..16 {
            digest.update(bytemuck::cast_slice(&views.make(&picture, &mut rng(index))));
        }
        let known = "13e15171961e78be99fb8075d5890e754dc3953a772045ffb7cb01fbfb88e0fa";
        assert_eq!(digest.finalize().to_hex().as_str(), known);
    }

    #[test]
    fn half_of_the_views_are_mirrored() {
        let ramp: Vec<u8> = (0..64 * 64).map(|at| (at % 64 * 4) as u8).collect();
        let picture = Picture { height: 64, width: 64, channels: 1, pixels: ramp };
        let rises = |flip, index| {
            let chain = Augmentation { flip, ..Augmentation::pretraining() };
            let view = Views::new(&chain, BY, 1, 8, 8).unwrap().make(&picture, &mut rng(index));
            view[7] > view[0]
        };
        let mirrored = (0..1000).filter(|&index| !rises(true, index)).count();
        assert!(mirrored.abs_diff(500) < 60, "{mirrored} of 1000");
        assert!((0..100).all(|index| rises(false, index)));
    }

    #[test]
    fn a_line_of_pixels_has_a_view() {
        let line = Picture { height: 1, width: 16384, channels: 3, pixels: vec![9; 3 * 16384] };
        let views = Views::new(&Augmentation::pretraining(), BY, 3, 32, 16).unwrap();
        assert_eq!(views.make(&line, &mut rng(0)), vec![views_value(9); 3 * 32 * 16]);
    }

    #[test]
    fn small_pictures_are_shifted_only_where_asked_and_where_they_fit() {
        let chain = Augmentation { pad_crop: true, ..off() };
        let seen = |picture: &Picture, side, chain: &Augmentation| {
            let view = views(chain, side).make(picture, &mut rng(3));
            view == pad_crop(picture, 4, &mut rng(3)).normalise(&BY)
        };
        assert!(seen(&noise(32, 32, 3), 32, &chain) && seen(&noise(8, 8, 3), 8, &chain));
        assert!(!seen(&noise(32, 32, 3), 32, &off()));
        assert!(!seen(&noise(33, 33, 3), 33, &chain));
        let crop = |picture: &Picture, chain: &Augmentation| views(chain, 32).make(picture, &mut rng(3));
        assert_eq!(crop(&noise(32, 40, 3), &chain), crop(&noise(32, 40, 3), &off()));
    }

    #[test]
    fn colour_jitter_acts_only_without_auto_augment() {
        let picture = noise(40, 40, 3);
        let make = |auto_augment: Option<&str>, color_jitter| {
            let chain = Augmentation { auto_augment: auto_augment.map(str::to_owned), color_jitter, ..off() };
            (0..40).map(|index| views(&chain, 40).make(&picture, &mut rng(index))).collect::<Vec<_>>()
        };
        let policy = Some("rand-m9-mstd0.5-inc1");
        assert_eq!(make(policy, 0.0), make(policy, 0.4));
        assert_ne!(make(policy, 0.0), make(None, 0.0));
        assert_eq!(make(None, 0.0), make(Some(""), 0.0));
        assert_ne!(make(None, 0.4), make(Some("none"), 0.0));
        assert_eq!(make(None, 0.4), make(Some("none"), 0.4));
    }

    #[test]
    fn a_share_of_the_views_has_a_part_erased_after_normalising() {
        let grey = Picture { height: 40, width: 40, channels: 3, pixels: vec![200; 4800] };
        let views = views(&Augmentation { erase: 0.25, ..off() }, 24);
        let other = |index| views.make(&grey, &mut rng(index)).iter().filter(|v| **v != views_value(200)).count();
        let erased: Vec<usize> = (0..2000).map(other).filter(|count| *count > 0).collect();
        assert!(erased.len().abs_diff(500) < 90, "{} of 2000", erased.len());
        assert!(erased.iter().all(|count| count % 3 == 0 && *count < 3 * 24 * 24 / 2));
    }

    fn views_value(byte: u8) -> f32 {
        (f32::from(byte) / 255.0 - 0.5) / 0.5
    }

    /// A black picture moved by an operation shows what comes in.
    #[test]
    fn geometric_operations_bring_in_the_mean() {
        let fill = |by: Normalisation, channels| Views::new(&off(), by, channels, 8, 8).unwrap().fill;
        assert_eq!(fill(Normalisation::INCEPTION, 3), [128; 3]);
        assert_eq!(fill(Normalisation::IMAGENET, 3), [124, 116, 104]);
        assert_eq!(fill(Normalisation::IMAGENET, 1), [114]);
        let black = Picture { height: 30, width: 30, channels: 3, pixels: vec![0; 2700] };
        let chain = Augmentation { auto_augment: Some("rand-m9-inc1-n1".into()), ..off() };
        let views = Views::new(&chain, Normalisation::IMAGENET, 3, 30, 30).unwrap();
        let first = |index| views.make(&black, &mut rng(index))[0];
        // (124/255 − mean) / std
        assert!((0..200).any(|index| (first(index) - 0.005_565).abs() < 1e-4));
    }

    #[test]
    fn the_published_chain_makes_views_of_grey_and_colour() {
        for (channels, side) in [(1, 28), (3, 32), (3, 96)] {
            let views = Views::new(&Augmentation::finetuning(), Normalisation::IMAGENET, channels, side, side).unwrap();
            let picture = noise(96, 120, channels);
            let made: Vec<_> = (0..100).map(|index| views.make(&picture, &mut rng(index))).collect();
            assert!(made.iter().all(|view| view.len() == channels * side * side && view.iter().all(|v| v.is_finite())));
            assert_eq!(made[5], views.make(&picture, &mut rng(5)));
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let refused = |chain: Augmentation, channels| Views::new(&chain, BY, channels, 8, 8).unwrap_err();
        let tuned = Augmentation::finetuning;
        assert!(refused(Augmentation { auto_augment: Some("augmix".into()), ..tuned() }, 3).contains("not `rand`"));
        assert!(refused(Augmentation { area_min: 0.0, ..tuned() }, 3).contains("above 0 to 1, not 0"));
        assert!(refused(Augmentation { erase: 1.1, ..tuned() }, 3).contains("0 to 1, not 1.1"));
        assert!(refused(Augmentation { color_jitter: -1.0, ..tuned() }, 3).contains("color_jitter must be 0 (off)"));
        assert!(refused(tuned(), 4).contains("grey or RGB pictures, not those of 4 channels"));
        let plain = Augmentation { auto_augment: Some(String::new()), color_jitter: 0.0, ..tuned() };
        assert!(Views::new(&plain, BY, 4, 8, 8).is_ok());
    }

    #[test]
    fn a_description_is_written_and_read() {
        for chain in [Augmentation::pretraining(), Augmentation::finetuning()] {
            assert_eq!(toml::from_str::<Augmentation>(&toml::to_string(&chain).unwrap()).unwrap(), chain);
        }
        let some: Augmentation = toml::from_str("erase = 0.1\nauto_augment = \"\"").unwrap();
        assert_eq!(some, Augmentation { erase: 0.1, auto_augment: Some(String::new()), ..Augmentation::pretraining() });
        assert!(toml::from_str::<Augmentation>("reprob = 0.1").is_err());
    }
}
