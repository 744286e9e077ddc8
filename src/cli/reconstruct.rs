//! `bootmae reconstruct`: what a checkpoint makes of the visible quarter of a photo.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use image::RgbImage;

use super::{
    arguments::AdapterArguments,
    checkpoint::CheckpointArguments,
    numbers::{MOST, share, whole},
    output::Output,
};
use crate::{
    checkpoint::Model,
    data::{Picture, augment::resize_centre, decode},
    error::{Error, Result},
    infer::network::Network,
    model::{
        ModelConfig, Statistics,
        config::{Masking, PixelTarget},
        masking,
    },
    report::picture::png,
    rng::{Rng, Stream},
    run::samples::{draw, explained, told},
};

/// Reconstruct the masked patches of an image: original | masked | reconstruction, side by side.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    checkpoint: CheckpointArguments,
    /// An image file; its centre is cut to the model's shape.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// The picture to write.
    #[arg(long, value_name = "PNG")]
    out: PathBuf,
    /// How patches are hidden; as in training if not given.
    #[arg(long)]
    mask: Option<Mask>,
    /// The share of patches to hide, 0 to 1; as in training if not given.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    mask_ratio: Option<f64>,
    /// Decides which patches are hidden.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = whole::<u64>(0, MOST))]
    seed: u64,
    /// Draw hidden patches with mean and contrast interpolated from visible ones, instead of their own.
    #[arg(long)]
    blind: bool,
    /// The decoder predicts plain pixels, not normalised patches: MAE's mae_visualize files, and those trained without
    /// norm_pix_loss.
    #[arg(long)]
    raw_pixels: bool,
    /// Write the reconstruction alone, in the network's own size.
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    adapter: AdapterArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mask {
    Block,
    Random,
}

/// Reconstructs, writes the picture and prints how near it is, with the checkpoint's weights and with those it started
/// from.
pub fn run(arguments: &Arguments) -> Result<()> {
    let out = Output::new("--out", &arguments.out, &[&arguments.checkpoint.checkpoint, &arguments.image])?;
    let checkpoint = arguments.checkpoint.open()?;
    let config = arguments.config(&checkpoint)?;
    let (height, width) = (config.image_height, config.image_width);
    let path = &arguments.image;
    let picture = decode(path, config.channels).map_err(|e| Error::Images(format!("{}: {e}", path.display())))?;
    let image = resize_centre(&picture, height, width).normalise(&config.normalise);
    let order = masking::patch_order(&config, &mut Rng::new(arguments.seed, Stream::Mask, 0, 0), 0);
    let device = arguments.adapter.open()?;
    let network = pollster::block_on(Network::new(device, &config))?;
    network.write_start(checkpoint.config.training.seed);
    let before = pollster::block_on(network.reconstruct(&image, &order, config.masked))?;
    network.write(&checkpoint).map_err(|reason| Error::checkpoint(&arguments.checkpoint.checkpoint, reason))?;
    let after = pollster::block_on(network.reconstruct(&image, &order, config.masked))?;

    let from = if arguments.blind { Statistics::Neighbours } else { Statistics::Own };
    let (psnr, start) = (after.psnr(from), before.psnr(from));
    let png = |picture: &RgbImage| png(picture).map_err(Error::io(&arguments.out));
    if arguments.plain {
        let (values, by) = (after.image(from), &config.normalise);
        let rebuilt = Picture::from_normalised(&values, by, config.channels, height, width).with_channels(3);
        let rebuilt = RgbImage::from_raw(width as u32, height as u32, rebuilt.pixels).expect("as many values as said");
        let png = png(&rebuilt)?;
        out.write(|to| to.write_all(&png))?;
    } else {
        let drawn = match (config.pixel_target, from) {
            (PixelTarget::Raw, _) => "are drawn as predicted",
            (_, Statistics::Own) => "are drawn with the mean and contrast of the original patch",
            (_, Statistics::Neighbours) => "are drawn with the mean and contrast interpolated from visible patches",
        };
        let features = pollster::block_on(network.features(&image))?.and_then(|teacher| after.features(teacher));
        let caption = format!(
            "Step {}: {} of {} patches hidden. Hidden patches {drawn}; visible \
             patches are the original's. PSNR of hidden patches {psnr:.1} dB ({start:.1} dB at the start of training).{}{}",
            checkpoint.step,
            config.masked,
            config.patches(),
            explained(&after),
            features.as_ref().map(told).unwrap_or_default()
        );
        let png = png(&draw(&after, from, features.as_ref(), &caption))?;
        out.write(|to| to.write_all(&png))?;
    }
    out.say(&format!("hidden patches: PSNR {psnr:.2} dB (at the start {start:.2}).{}", explained(&after)));
    let gain = psnr - start;
    let word = if gain >= 0.0 { "better" } else { "worse" };
    out.say(&format!("{:.2} dB {word} than at the start: {}", gain.abs(), arguments.out.display()));
    Ok(())
}

impl Arguments {
    /// The checkpoint's network, with the patches hidden that the flags ask for, and the feature branch where the
    /// teacher's weights are at hand.
    fn config(&self, checkpoint: &Model) -> Result<ModelConfig> {
        let mut config = checkpoint.config.model.clone();
        config.feature_branch &= checkpoint.teacher.is_some();
        if self.raw_pixels {
            config.pixel_target = PixelTarget::Raw;
        }
        match self.mask {
            Some(Mask::Block) => config.masking = Masking::Block,
            Some(Mask::Random) => config.masking = Masking::Random,
            None => {}
        }
        if let Some(share) = self.mask_ratio {
            if !(share > 0.0 && share < 1.0) {
                return Err(Error::Config(format!("--mask-ratio is more than 0 and less than 1, not {share}")));
            }
            let patches = config.patches();
            let masked = (share * patches as f64).round() as usize;
            config = config.with_masked(masked.clamp(1, patches - 1));
        }
        config.check()?;
        Ok(config)
    }
}
