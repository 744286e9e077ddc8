//! Flags of the verbs that take a checkpoint, also one of another program.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    numbers::{MOST, between, whole},
    terminal::errln,
};
use crate::{
    checkpoint::Model,
    data::Normalisation,
    error::Result,
    interop::{self, Asked},
    text::shown,
};

/// A checkpoint that a verb cannot do without.
#[derive(Args, Debug)]
pub(super) struct CheckpointArguments {
    /// A run folder (its newest checkpoint), a checkpoint folder or archive, or a model file; or a checkpoint of BootMAE's or
    /// MAE's own program, timm, DeiT or Hugging Face (.pth, .safetensors, or a folder with config.json).
    #[arg(long, value_name = "PATH")]
    pub(super) checkpoint: PathBuf,
    #[command(flatten)]
    asked: AskedArguments,
}

/// What a checkpoint of another program may not say itself.
#[derive(Args, Debug)]
pub(super) struct AskedArguments {
    /// Of a checkpoint of another program with several sets of weights, which one: `model`, `model_ema`.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Attention heads of the encoder of another program's checkpoint, where it does not say.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST))]
    heads: Option<usize>,
    /// What pixels are normalised by for a checkpoint of another program: inception (mean and deviation 0.5), imagenet, or
    /// three means and three deviations with commas.
    #[arg(long, value_name = "inception|imagenet|NUMBERS", value_parser = normalisation)]
    normalise: Option<Normalisation>,
    /// How much of a picture's shorter side evaluation keeps, 0.01 to 1, for a checkpoint of another program: timm's crop_pct,
    /// 0.9 of most of its classifiers. What a file beside the weights says, else 0.875 from 33 to 383 pixels and 1 otherwise.
    #[arg(long, value_name = "SHARE", value_parser = between(0.01, 1.0))]
    crop_share: Option<f64>,
}

impl CheckpointArguments {
    /// Reads the checkpoint; what a person should know of it is told.
    pub(super) fn open(&self) -> Result<Model> {
        self.asked.open(&self.checkpoint)
    }
}

impl AskedArguments {
    /// Reads the checkpoint at `path`; what a person should know of it is told.
    pub(super) fn open(&self, path: &Path) -> Result<Model> {
        let imported = interop::open(path, &self.asked())?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        imported.notes.iter().for_each(|note| errln!("{}: {note}", shown(&name)));
        Ok(imported.model)
    }

    /// Reads the checkpoint at `path` and tells nothing of it.
    pub(super) fn open_silently(&self, path: &Path) -> Result<Model> {
        interop::open(path, &self.asked()).map(|imported| imported.model)
    }

    pub(super) fn asked(&self) -> Asked {
        Asked {
            key: self.key.clone(),
            heads: self.heads,
            normalisation: self.normalise,
            crop_share: self.crop_share,
            image_size: None,
        }
    }
}

/// A name, or six numbers.
fn normalisation(text: &str) -> Result<Normalisation, String> {
    if let Some(named) = Normalisation::named(text) {
        return Ok(named);
    }
    let numbers: Option<Vec<f32>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    let wrong = "it is inception, imagenet, or three means and three deviations above 0 with commas";
    let [r, g, b, of_r, of_g, of_b] = numbers.unwrap_or_default()[..] else { return Err(wrong.into()) };
    Normalisation::of([r, g, b], [of_r, of_g, of_b]).ok_or_else(|| wrong.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normalisation_is_a_name_or_six_numbers() {
        assert_eq!(normalisation("imagenet"), Ok(Normalisation::IMAGENET));
        assert_eq!(normalisation("0.485,0.456, 0.406,0.229,0.224,0.225"), Ok(Normalisation::IMAGENET));
        for wrong in ["clip", "0.5,0.5,0.5", "0,0,0,1,0,1", "0,0,0,1,1,inf", ""] {
            assert!(normalisation(wrong).is_err(), "{wrong}");
        }
    }
}
