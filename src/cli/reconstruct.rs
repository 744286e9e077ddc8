//! `bootmae reconstruct`: what a checkpoint makes of the visible quarter of a photo.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::AdapterArguments;
use crate::{
    data::{augment::resize_centre, decode},
    error::{Error, Result},
    model::{Reconstructor, config::Masking, masking},
    rng::{Rng, Stream},
    train::{
        checkpoint::read_model,
        picture::write_png,
        samples::{draw, psnr},
    },
};

/// Reconstruct the masked patches of an image: original | masked | reconstruction, side by side.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A run folder (its newest checkpoint), a checkpoint folder or a model file written by `bootmae pretrain`.
    #[arg(long, value_name = "PATH")]
    checkpoint: PathBuf,
    /// A JPEG, PNG or WebP image; its centre is cut to the model's shape.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// The picture to write.
    #[arg(long, value_name = "PNG")]
    out: PathBuf,
    /// How patches are hidden; as in training if not given.
    #[arg(long)]
    mask: Option<Mask>,
    /// Decides which patches are hidden.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
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
    let checkpoint = read_model(&arguments.checkpoint)?;
    let mut config = checkpoint.config.model.clone();
    match arguments.mask {
        Some(Mask::Block) => config.masking = Masking::Block,
        Some(Mask::Random) => config.masking = Masking::Random,
        None => {}
    }
    let (height, width) = (config.image_height, config.image_width);
    let path = &arguments.image;
    let picture = decode(path, config.channels).map_err(|e| Error::Images(format!("{}: {e}", path.display())))?;
    let image = resize_centre(&picture, height, width).normalise();
    let order = masking::patch_order(&config, &mut Rng::new(arguments.seed, Stream::Mask, 0, 0), 0);
    let device = arguments.adapter.open()?;
    let (model, weights) = pollster::block_on(Reconstructor::new(&device, &config))?;
    for param in &weights.layout().params {
        weights.write(&device, &param.name, &param.initial(checkpoint.config.training.seed));
    }
    let before = pollster::block_on(model.run(&device, &image, &order))?;
    let held = &checkpoint.tensors;
    for param in &weights.layout().params {
        let tensor = held.iter().find(|t| t.name == param.name && t.shape == param.shape).ok_or_else(|| {
            let reason =
                format!("holds no tensor `{}` of shape {:?} that its configuration needs", param.name, param.shape);
            Error::checkpoint(&arguments.checkpoint, reason)
        })?;
        weights.write(&device, &tensor.name, &tensor.data);
    }
    let after = pollster::block_on(model.run(&device, &image, &order))?;

    let caption = format!(
        "Step {}: {} of {} patches hidden. Hidden patches are drawn with the mean and contrast of the original patch; \
         visible patches are the original's. PSNR of hidden patches {:.1} dB ({:.1} dB at the start of training).",
        checkpoint.step,
        config.masked,
        config.patches(),
        psnr(&after),
        psnr(&before)
    );
    write_png(&arguments.out, &draw(&config, &image, &order, &after, &caption))?;
    println!(
        "hidden patches: squared error {:.3} of their own variance (at the start {:.3}), PSNR {:.2} dB (at the start {:.2})",
        after.target_error,
        before.target_error,
        psnr(&after),
        psnr(&before)
    );
    let gain = psnr(&after) - psnr(&before);
    println!(
        "{:.2} dB {} than at the start: {}",
        gain.abs(),
        if gain >= 0.0 { "better" } else { "worse" },
        arguments.out.display()
    );
    Ok(())
}
