//! Two labelled sets of features, for the verbs that compare them: of a checkpoint, or from files.

use std::{
    path::{Path, PathBuf},
    slice,
};

use clap::Args;

use super::{
    checkpoint::AskedArguments,
    features::{EncoderArguments, features_of},
    numbers::{MOST, whole},
    terminal::errln,
};
use crate::{
    data::{Classes, LabelOptions, Labels, Side, labelled},
    error::{Error, Result},
    infer::{
        features::Features,
        sets::{Sets, check_classes},
    },
    text::shown,
};

/// Where the features come from.
#[derive(Args, Debug)]
pub(super) struct SetsArguments {
    /// A run folder (its newest checkpoint), a checkpoint folder or archive, or a model file; or a checkpoint of BootMAE's or
    /// MAE's own program, timm, DeiT or Hugging Face (.pth, .safetensors, or a folder with config.json).
    #[arg(long, value_name = "PATH", required_unless_present = "features", requires = "data")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    asked: AskedArguments,
    /// Labelled images, as `pretrain --data` names them: both sides of a data set, or one of which a tenth is held out.
    #[arg(long, value_name = "SOURCE", required_unless_present = "features", requires = "checkpoint")]
    data: Option<String>,
    /// Labelled images to test on, where `--data` is to be trained on alone.
    #[arg(long, value_name = "SOURCE")]
    test: Option<String>,
    /// Which labels: a column of parquet files, `coarse` of CIFAR-100.
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// Instead of a checkpoint and images: features to train on, a file NAME.safetensors of `embed`. Without
    /// `--test-features` a tenth of them is held out.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["checkpoint", "key", "heads", "normalise", "crop_share", "data", "test", "label_column", "weights", "pool", "norm", "blocks", "batch_size", "precision", "adapter"])]
    features: Option<PathBuf>,
    /// Features to test on, of the same checkpoint and made in the same way.
    #[arg(long, value_name = "FILE", requires = "features")]
    test_features: Option<PathBuf>,
    /// Decides which images are held out.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u64>(0, MOST))]
    pub(super) seed: u64,
    #[command(flatten)]
    encoder: EncoderArguments,
}

/// The two sets, and how they were come by.
pub(super) struct Opened {
    pub(super) sets: Sets,
    /// The names of images that cannot be read.
    pub(super) left_out: Vec<String>,
    /// Images a second through the encoder; none for features from files.
    pub(super) images_per_s: Option<f64>,
}

impl SetsArguments {
    /// The files that are read, and those of images as far as they are paths.
    pub(super) fn inputs(&self) -> Vec<&Path> {
        let files = [&self.checkpoint, &self.features, &self.test_features].into_iter().flatten();
        let images = [&self.data, &self.test].into_iter().flatten();
        files.map(PathBuf::as_path).chain(images.map(Path::new)).collect()
    }

    /// Reads or computes the features.
    pub(super) fn open(&self) -> Result<Opened> {
        match (&self.features, &self.checkpoint, &self.data) {
            (Some(train), ..) => self.read(train),
            (None, Some(checkpoint), Some(data)) => self.compute(checkpoint, data),
            _ => Err(Error::Config("give --checkpoint and --data, or --features".into())),
        }
    }

    fn read(&self, train: &Path) -> Result<Opened> {
        let train = Features::read(train)?;
        let sets = match &self.test_features {
            Some(test) => Sets::pair(&train, &Features::read(test)?)?,
            None => Sets::divided(&train, self.seed)?,
        };
        errln!("{}", sets.how);
        Ok(Opened { sets, left_out: Vec::new(), images_per_s: None })
    }

    fn compute(&self, checkpoint: &Path, data: &str) -> Result<Opened> {
        let model = self.asked.open(checkpoint)?;
        let options = LabelOptions {
            test: self.test.clone(),
            column: self.label_column.clone(),
            seed: self.seed,
            ..Default::default()
        };
        let found = labelled(data, &options)?;
        errln!("{}", shown(&found.how));
        let mut counts = vec![0; found.classes.len()];
        found.train.labels.iter().for_each(|class| counts[*class as usize] += 1);
        // Before hours are spent on features.
        check_classes(&found.train.source.place(), &found.classes, &counts)?;
        let encoder = self.encoder.encoder(&model)?;
        let embed = |side: &Side, split| {
            let labels = labels(&found.classes, side)?;
            features_of(&encoder, slice::from_ref(&side.source), &labels, (&side.source.place(), split), model.step)
        };
        let (train, test) = (embed(&found.train, "train")?, embed(&found.test, "test")?);
        let mut sets = Sets::pair(&train.features, &test.features)?;
        if found.held_out {
            sets.how += &format!("; a tenth of each class was held out by the seed {}", self.seed);
        }
        let images = train.features.len() + test.features.len();
        let images_per_s = Some(images as f64 / (train.seconds + test.seconds));
        Ok(Opened { sets, left_out: [train.left_out, test.left_out].concat(), images_per_s })
    }
}

/// The classes of a side's images as labels.
fn labels(classes: &Classes, side: &Side) -> Result<Labels> {
    let names = match classes {
        Classes::Names(names) => Some(names.clone()),
        _ => None,
    };
    Labels::new(names, side.labels.iter().map(|class| i64::from(*class))).map_err(Error::Images)
}
