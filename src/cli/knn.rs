//! `bootmae knn`: how well a checkpoint's features tell classes apart.

use std::{path::PathBuf, time::Instant};

use clap::{Args, ValueEnum};

use super::{
    arguments::AdapterArguments,
    numbers::{MOST, whole},
    terminal::{errln, outln},
};
use crate::{
    checkpoint::read_model,
    data::{LabelOptions, Normalisation, Side, augment::evaluation_view, each, labelled},
    error::{Error, Result},
    infer::{
        encoder::{Encoder, FeatureOptions},
        neighbours::{Accuracy, Labelled, accuracy},
    },
    model::Whose,
    text::shown,
};

/// Say how well a checkpoint's features tell classes apart: the accuracy of nearest neighbours, without training anything.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A run folder (its newest checkpoint), a checkpoint folder or archive, or a model file.
    #[arg(long, value_name = "PATH")]
    checkpoint: PathBuf,
    /// Labelled images, as `pretrain --data` names them: both sides of a data set, or one of which a tenth is held out.
    #[arg(long, value_name = "SOURCE")]
    data: String,
    /// Labelled images to test on, where `--data` is to be trained on alone.
    #[arg(long, value_name = "SOURCE")]
    test: Option<String>,
    /// Which labels: a column of parquet files, `coarse` of CIFAR-100.
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// How many neighbours vote; several numbers with commas.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "20", value_parser = whole::<usize>(1, MOST))]
    k: Vec<usize>,
    /// Whose features: the trained network's, or its moving average's.
    #[arg(long, default_value = "student")]
    weights: Weights,
    /// Blocks of the encoder that are run, all without it.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST))]
    blocks: Option<usize>,
    /// Images that pass through the encoder together.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<usize>(1, 4096))]
    batch_size: usize,
    /// Decides which images are held out.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    adapter: AdapterArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Weights {
    Student,
    Teacher,
}

/// What was measured.
#[derive(serde::Serialize)]
struct Measured {
    step: u64,
    how: String,
    classes: usize,
    train_images: usize,
    test_images: usize,
    accuracy: Vec<Accuracy>,
    images_per_s: f64,
}

/// Features of the images of a side that can be read, and their classes.
struct Found {
    features: Vec<f32>,
    classes: Vec<u32>,
}

impl Found {
    fn labelled(&self) -> Labelled<'_> {
        Labelled { features: &self.features, classes: &self.classes }
    }
}

/// Computes features of both sides, compares and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    let model = read_model(&arguments.checkpoint)?;
    let options = LabelOptions {
        test: arguments.test.clone(),
        column: arguments.label_column.clone(),
        seed: arguments.seed,
        ..Default::default()
    };
    let sides = labelled(&arguments.data, &options)?;
    errln!("{}", shown(&sides.how));
    let device = arguments.adapter.open()?;
    arguments.adapter.remark(&device).iter().for_each(|line| errln!("{line}"));
    let whose = match arguments.weights {
        Weights::Student => Whose::Student,
        Weights::Teacher => Whose::Teacher,
    };
    let features = FeatureOptions { whose, blocks: arguments.blocks };
    let encoder = pollster::block_on(Encoder::new(device, &model, features, arguments.batch_size))?;
    let began = Instant::now();
    let (train, test) = (features_of(&encoder, &sides.train)?, features_of(&encoder, &sides.test)?);
    let seconds = began.elapsed().as_secs_f64();
    let measured = accuracy(train.labelled(), test.labelled(), encoder.config().width, &arguments.k);
    let measured = Measured {
        step: model.step,
        how: sides.how.clone(),
        classes: sides.classes.len(),
        train_images: train.classes.len(),
        test_images: test.classes.len(),
        accuracy: measured,
        images_per_s: (train.classes.len() + test.classes.len()) as f64 / seconds,
    };
    if arguments.json {
        outln!("{}", serde_json::to_string_pretty(&measured).expect("numbers are JSON"));
        return Ok(());
    }
    let percent = |share: f64| 100.0 * share;
    for Accuracy { k, top1, top5, majority_top1 } in &measured.accuracy {
        outln!(
            "step {}, {k} neighbours: top-1 {:.1} %, top-5 {:.1} % (majority {:.1} %) of {} images in {} classes; chance {:.1} %",
            measured.step,
            percent(*top1),
            percent(*top5),
            percent(*majority_top1),
            measured.test_images,
            measured.classes,
            100.0 / measured.classes as f64
        );
    }
    errln!("{:.0} images/s", measured.images_per_s);
    Ok(())
}

/// The features of a side, in its order. Images are decoded ahead of the encoder; those that cannot be read are named and
/// left out.
fn features_of(encoder: &Encoder, side: &Side) -> Result<Found> {
    let config = encoder.config();
    let view = |index: usize| {
        let picture = side.source.load(index, config.channels)?;
        Ok(evaluation_view(&picture, config.image_height, config.image_width).normalise(&Normalisation::INCEPTION))
    };
    let mut found = Found { features: Vec::new(), classes: Vec::new() };
    let (mut images, mut waiting, mut ran) = (Vec::new(), 0, Ok(()));
    let mut run = |images: &mut Vec<f32>| -> Result<()> {
        found.features.extend(pollster::block_on(encoder.run(images))?);
        images.clear();
        Ok(())
    };
    each(side.source.len(), 0, view, |index, view: Result<Vec<f32>, String>| {
        match view {
            Ok(view) => {
                images.extend(view);
                found.classes.push(side.labels[index]);
                waiting += 1;
            }
            Err(reason) => errln!("left out: {} ({})", shown(&side.source.name(index)), shown(&reason)),
        }
        if waiting == encoder.batch() {
            (ran, waiting) = (run(&mut images), 0);
        }
        ran.is_ok()
    });
    ran?;
    if !images.is_empty() {
        run(&mut images)?;
    }
    if found.classes.is_empty() {
        return Err(Error::Images(format!("none of the images of {} can be read", shown(&side.source.place()))));
    }
    Ok(found)
}
