//! `bootmae knn`: how well a checkpoint's features tell classes apart.

use std::path::PathBuf;

use clap::Args;

use super::{
    features::{Embedded, EncoderArguments, features_of},
    numbers::{MOST, whole},
    terminal::{errln, outln},
};
use crate::{
    checkpoint::read_model,
    data::{Classes, LabelOptions, Labels, labelled},
    error::{Error, Result},
    infer::neighbours::{Accuracy, Labelled, accuracy},
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
    /// Decides which images are held out.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    encoder: EncoderArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
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
    let encoder = arguments.encoder.encoder(&model)?;
    let [train, test] = [(&sides.train, "train"), (&sides.test, "test")].map(|(side, split)| {
        let names = match &sides.classes {
            Classes::Names(names) => Some(names.clone()),
            _ => None,
        };
        let labels = Labels::new(names, side.labels.iter().map(|class| i64::from(*class)));
        let labels = labels.map_err(Error::Images)?;
        let place = side.source.place();
        features_of(&encoder, std::slice::from_ref(&side.source), &labels, (&place, split), model.step)
    });
    let (train, test) = (train?, test?);
    let seconds = train.seconds + test.seconds;
    let classes = |of: &Embedded| of.features.classes().iter().map(|class| *class as u32).collect::<Vec<_>>();
    let (of_train, of_test) = (classes(&train), classes(&test));
    let measured = accuracy(
        Labelled { features: &train.features.values, classes: &of_train },
        Labelled { features: &test.features.values, classes: &of_test },
        encoder.config().width,
        &arguments.k,
    );
    let measured = Measured {
        step: model.step,
        how: sides.how.clone(),
        classes: sides.classes.len(),
        train_images: of_train.len(),
        test_images: of_test.len(),
        accuracy: measured,
        images_per_s: (of_train.len() + of_test.len()) as f64 / seconds,
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
