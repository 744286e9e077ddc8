//! `bootmae reconstruct`: what a checkpoint makes of the visible quarter of a photo.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{
    AdapterArguments,
    picture::{Panel, compose, write_png},
};
use crate::{
    data::{Picture, augment::resize_centre, decode},
    error::{Error, Result},
    model::{ModelConfig, Reconstruction, Reconstructor, config::Masking, masking},
    rng::{Rng, Stream},
    train::checkpoint::read_model,
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
    let model = pollster::block_on(Reconstructor::new(device, &config))?;
    for param in &model.layout().params {
        model.write(&param.name, &param.initial(checkpoint.config.training.seed));
    }
    let before = pollster::block_on(model.run(&image, &order))?;
    let held = &checkpoint.tensors;
    for param in &model.layout().params {
        let tensor = held.iter().find(|t| t.name == param.name && t.shape == param.shape).ok_or_else(|| {
            let reason =
                format!("holds no tensor `{}` of shape {:?} that its configuration needs", param.name, param.shape);
            Error::checkpoint(&arguments.checkpoint, reason)
        })?;
        model.write(&tensor.name, &tensor.data);
    }
    let after = pollster::block_on(model.run(&image, &order))?;

    let show = |values: &[f32]| rgb(Picture::from_normalised(values, config.channels, height, width));
    let (original, masked) = (show(&image), show(&hide(&config, &image, &order)));
    let rebuilt = show(&after.image);
    let panels = [
        Panel { title: "original", rgb: &original },
        Panel { title: "masked", rgb: &masked },
        Panel { title: "reconstruction", rgb: &rebuilt },
    ];
    let caption = format!(
        "Step {}: {} of {} patches hidden. Hidden patches are drawn with the mean and contrast of the original patch; \
         visible patches are the original's. PSNR of hidden patches {:.1} dB ({:.1} dB at the start of training).",
        checkpoint.step,
        config.masked,
        config.patches(),
        psnr(&after),
        psnr(&before)
    );
    write_png(&arguments.out, &compose(&panels, height, width, &caption))?;
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

/// Peak signal-to-noise ratio in decibels; pixels span −1 to 1.
fn psnr(reconstruction: &Reconstruction) -> f64 {
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

/// Red, green and blue of a picture of any number of channels.
fn rgb(picture: Picture) -> Vec<u8> {
    picture.with_channels(3).pixels
}
