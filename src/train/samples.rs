//! What the network makes of one image, drawn now and then while it trains: `samples/step-N.png`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::RgbImage;

use super::{
    Trainer,
    durable::{remove_partials, sync_parent},
    picture::{Panel, compose, write_png},
};
use crate::{
    data::{Picture, Source, augment::resize_centre},
    error::{Error, Result},
    model::{Begun, Features, ModelConfig, Reconstruction, Reconstructor, masking},
    rng::{Rng, Stream},
};

/// The folder of the pictures inside a run folder.
pub const FOLDER: &str = "samples";

/// Images of the collection that are tried until one can be read.
const TRIES: usize = 20;

/// Draws samples of one image, always with the same patches hidden.
pub struct Sampler {
    folder: PathBuf,
    image: Vec<f32>,
    order: Vec<u32>,
    /// Made with the first sample: a run that draws none compiles nothing for it.
    reconstructor: Option<Reconstructor>,
}

/// A picture that was written.
#[derive(Debug)]
pub struct Sample {
    /// Width and height.
    pub pixels: (u32, u32),
    /// The bytes of the file.
    pub png: Vec<u8>,
}

impl Sampler {
    /// Takes the first image of `source` that can be read, its centre cut to the model's shape.
    pub fn new(run: &Path, source: &dyn Source, config: &ModelConfig) -> Result<Sampler> {
        let folder = run.join(FOLDER);
        fs::create_dir_all(&folder).and_then(|()| sync_parent(&folder)).map_err(Error::io(&folder))?;
        remove_partials(&folder)?;
        let (height, width) = (config.image_height, config.image_width);
        let picture = (0..source.len().min(TRIES)).find_map(|index| source.load(index, config.channels).ok());
        let picture = picture.ok_or_else(|| {
            Error::Images(format!("none of the first {TRIES} images can be read; samples need one of them"))
        })?;
        let image = resize_centre(&picture, height, width).normalise();
        let order = masking::patch_order(config, &mut Rng::new(0, Stream::Mask, 0, 0), 0);
        Ok(Sampler { folder, image, order, reconstructor: None })
    }

    /// Submits a reconstruction with the weights after the steps submitted so far, to be handed to [`Sampler::finish`].
    pub async fn begin(&mut self, trainer: &Trainer) -> Result<Begun> {
        let reconstructor = match self.reconstructor.take() {
            Some(made) => made,
            None => trainer.reconstructor().await?,
        };
        let begun = reconstructor.begin(trainer.device(), &self.image, &self.order);
        self.reconstructor = Some(reconstructor);
        Ok(begun)
    }

    /// Gives up what it holds on a device that is gone.
    pub fn forget_device(&mut self) {
        self.reconstructor = None;
    }

    /// Waits for the reconstruction of `step` and writes its picture.
    pub async fn finish(&self, trainer: &Trainer, begun: Begun, step: u64) -> Result<Sample> {
        let config = trainer.config();
        let made = self.reconstructor.as_ref().expect("a sample was begun");
        let result = made.finish(trainer.device(), begun, &self.image, &self.order).await?;
        let mut caption = format!(
            "Step {step}: {} of {} patches hidden. PSNR of hidden patches {:.1} dB.",
            config.masked,
            config.patches(),
            psnr(&result)
        );
        if let Some(features) = &result.features {
            caption += &format!(
                " Features of hidden patches: the teacher's first three principal components as red, green and blue; \
                 cosine of predicted and teacher's {:.3}.",
                features.cosine()
            );
        }
        let path = self.folder.join(format!("step-{step}.png"));
        let picture = draw(config, &self.image, &self.order, &result, &caption);
        write_png(&path, &picture)?;
        let png = fs::read(&path).map_err(Error::io(&path))?;
        Ok(Sample { pixels: picture.dimensions(), png })
    }
}

/// Original, masked image and reconstruction side by side, and where features are at hand, predicted and teacher's.
pub fn draw(config: &ModelConfig, image: &[f32], order: &[u32], result: &Reconstruction, caption: &str) -> RgbImage {
    let (height, width) = (config.image_height, config.image_width);
    let show = |values: &[f32]| {
        let picture = Picture::from_normalised(values, config.channels, height, width);
        picture.with_channels(3).pixels
    };
    let (original, masked) = (show(image), show(&hide(config, image, order)));
    let rebuilt = show(&result.image);
    let maps = result.features.iter().flat_map(Features::colours).map(|colours| paint(config, order, &colours));
    let maps: Vec<Vec<u8>> = maps.collect();
    let mut panels = vec![
        Panel { title: "original", rgb: &original },
        Panel { title: "masked", rgb: &masked },
        Panel { title: "reconstruction", rgb: &rebuilt },
    ];
    let titles = ["predicted features", "teacher's features"];
    panels.extend(titles.into_iter().zip(&maps).map(|(title, rgb)| Panel { title, rgb }));
    compose(&panels, height, width, caption)
}

/// A picture with hidden patches in these colours, in the order of `order`, and visible ones grey.
fn paint(config: &ModelConfig, order: &[u32], colours: &[[u8; 3]]) -> Vec<u8> {
    let (p, columns) = (config.patch_size, config.grid().1);
    let mut cells = vec![[128; 3]; config.patches()];
    order[config.visible()..].iter().zip(colours).for_each(|(cell, colour)| cells[*cell as usize] = *colour);
    let at = |y: usize, x: usize| cells[y / p * columns + x / p];
    (0..config.image_height).flat_map(|y| (0..config.image_width).flat_map(move |x| at(y, x))).collect()
}

/// Peak signal-to-noise ratio in decibels; pixels span −1 to 1.
pub fn psnr(reconstruction: &Reconstruction) -> f64 {
    10.0 * (4.0 / reconstruction.pixel_error).log10()
}

/// The image with its hidden patches grey.
fn hide(config: &ModelConfig, image: &[f32], order: &[u32]) -> Vec<f32> {
    let (p, columns) = (config.patch_size, config.grid().1);
    let hidden = &order[config.visible()..];
    let cell = |i: usize| {
        let (left, top) = (i % config.image_width, i / config.image_width % config.image_height);
        (top / p * columns + left / p) as u32
    };
    image.iter().enumerate().map(|(i, v)| if hidden.contains(&cell(i)) { 0.0 } else { *v }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_patches_are_grey_and_visible_ones_are_not() {
        let config = ModelConfig::preset("nano").unwrap().with_size(8, 8, 4);
        let image = vec![1.0; 3 * 64];
        let order: Vec<u32> = vec![2, 0, 1, 3];
        let hidden = hide(&config, &image, &order);
        assert_eq!(config.visible(), 1);
        let shown: Vec<usize> = (0..64).filter(|i| hidden[*i] == 1.0).collect();
        let expected: Vec<usize> = (4..8).flat_map(|row| (0..4).map(move |column| row * 8 + column)).collect();
        assert_eq!(shown, expected, "patch 2 is the lower left one");
        assert_eq!(hidden[..64], hidden[128..]);
    }
}
