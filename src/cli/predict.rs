//! `bootmae predict`: what a fine-tuned network takes images for.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{
    arguments::AdapterArguments,
    numbers::{MOST, whole},
    output::Output,
    terminal::errln,
};
use crate::{
    checkpoint::{Model, read_model},
    data::{Source, augment::evaluation_view, decode, each, labelled, open},
    device::Device,
    error::{Error, Result},
    infer::predictor::{Network, Over, Predictor},
    kernels::Tuning,
    model::{ModelConfig, WEIGHTS, Weights},
    text::shown,
    train::snapshot::TEACHER,
};

/// Say which classes a fine-tuned network takes images for, with probabilities.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A run folder of `finetune` (its newest checkpoint), a checkpoint folder or archive, or a model file.
    #[arg(long, value_name = "PATH")]
    checkpoint: PathBuf,
    /// Images.
    #[arg(value_name = "IMAGE", required_unless_present = "data")]
    images: Vec<PathBuf>,
    /// A source of images, as `pretrain --data` names them; of one that is labelled, accuracy is told.
    #[arg(long, value_name = "SOURCE", conflicts_with = "images")]
    data: Option<String>,
    /// Of a source with a side to train on and one to test on, the one to predict.
    #[arg(long, value_name = "SIDE", default_value = "test", requires = "data")]
    side: SideName,
    /// Where to write, a .csv or .json file; standard output, as CSV, without it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Classes told of each image, the most probable first.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<usize>(1, MOST))]
    top: usize,
    /// Whose weights: the trained ones, or their moving average's.
    #[arg(long, default_value = "trained")]
    weights: Which,
    /// Images that pass through the network together.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<usize>(1, 4096))]
    batch_size: usize,
    #[command(flatten)]
    adapter: AdapterArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Trained,
    Average,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SideName {
    Train,
    Test,
    All,
}

/// An image and what it was taken for.
#[derive(serde::Serialize)]
struct Prediction {
    image: String,
    /// Classes and their probabilities, the most probable first.
    classes: Vec<(String, f64)>,
}

/// Predicts, and writes or prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    let model = read_model(&arguments.checkpoint)?;
    let Some(classifier) = model.config.classifier.clone() else {
        let reason = "it has no classifier; `bootmae finetune --checkpoint` trains one on it";
        return Err(Error::checkpoint(&arguments.checkpoint, reason));
    };
    let out = arguments.out.as_deref().unwrap_or("/dev/stdout".as_ref());
    let mut inputs: Vec<_> = arguments.images.iter().map(PathBuf::as_path).collect();
    inputs.push(&arguments.checkpoint);
    let output = Output::new("--out", out, &inputs)?;
    let json = match arguments.out.as_ref().and_then(|out| out.extension()?.to_str()) {
        Some("json") => true,
        Some("csv") | None => false,
        Some(other) => return Err(Error::Config(format!("--out ends in .csv or .json, not .{other}"))),
    };
    let images = Shown::open(arguments)?;
    let device = arguments.adapter.open()?;
    arguments.adapter.remark(&device).iter().for_each(|line| errln!("{line}"));
    let loaded = pollster::block_on(Loaded::new(device, &model, arguments))?;
    let mut right = Right::default();
    let mut predictions = Vec::new();
    for first in (0..images.len()).step_by(arguments.batch_size) {
        let (mut views, mut indices) = (Vec::new(), Vec::new());
        let count = arguments.batch_size.min(images.len() - first);
        let view = |at: usize| images.view(first + at, &model.config.model);
        each(count, 0, view, |at, view: Result<Vec<f32>, String>| {
            match view {
                Ok(view) => {
                    views.extend(view);
                    indices.push(first + at);
                }
                Err(reason) => errln!("left out: {} ({})", shown(&images.name(first + at)), shown(&reason)),
            }
            true
        });
        if indices.is_empty() {
            continue;
        }
        let logits = pollster::block_on(loaded.predictor.run(&loaded.device, &views))?;
        for (index, logits) in indices.into_iter().zip(logits.chunks(classifier.classes.len())) {
            let ranked = ranked(logits);
            images.class(index, &classifier.classes).iter().for_each(|class| right.add(&ranked, *class));
            let told = ranked.iter().take(arguments.top);
            let classes = told.map(|(class, p)| (classifier.classes[*class].clone(), *p)).collect();
            predictions.push(Prediction { image: images.name(index), classes });
        }
    }
    if predictions.is_empty() {
        return Err(Error::Images("none of the images can be read".into()));
    }
    output.write(|to| {
        if json {
            serde_json::to_writer_pretty(&mut *to, &predictions)?;
            return writeln!(to);
        }
        let mut table = csv::Writer::from_writer(to);
        let numbered =
            (1..=predictions[0].classes.len()).flat_map(|n| [format!("class_{n}"), format!("probability_{n}")]);
        table.write_record(std::iter::once("image".to_string()).chain(numbered))?;
        for Prediction { image, classes } in &predictions {
            let told = classes.iter().flat_map(|(class, p)| [class.clone(), format!("{p:.6}")]);
            table.write_record(std::iter::once(image.clone()).chain(told))?;
        }
        table.flush()
    })?;
    if right.images > 0 {
        let percent = |count: usize| 100.0 * count as f64 / right.images as f64;
        errln!(
            "top-1 {:.2} %, top-5 {:.2} % of {} images ({} of {} right)",
            percent(right.top1),
            percent(right.top5),
            right.images,
            right.top1,
            right.images
        );
    }
    Ok(())
}

/// Classes and their probabilities, the most probable first, of equal ones the lower class.
fn ranked(logits: &[f32]) -> Vec<(usize, f64)> {
    let most = logits.iter().fold(f32::NEG_INFINITY, |most, z| most.max(*z));
    let weights: Vec<f64> = logits.iter().map(|z| f64::from(z - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut ranked: Vec<(usize, f64)> = weights.iter().map(|weight| weight / sum).enumerate().collect();
    ranked.sort_by(|(a, _), (b, _)| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    ranked
}

/// How many images were told right.
#[derive(Default)]
struct Right {
    images: usize,
    top1: usize,
    top5: usize,
}

impl Right {
    fn add(&mut self, ranked: &[(usize, f64)], class: usize) {
        self.images += 1;
        self.top1 += usize::from(ranked[0].0 == class);
        self.top5 += usize::from(ranked.iter().take(5).any(|(other, _)| *other == class));
    }
}

/// The images to predict.
enum Shown {
    Files(Vec<PathBuf>),
    Source { source: std::sync::Arc<dyn Source>, classes: Vec<String>, labels: Vec<u32> },
}

impl Shown {
    fn open(arguments: &Arguments) -> Result<Shown> {
        let Some(place) = &arguments.data else { return Ok(Shown::Files(arguments.images.clone())) };
        let plain = |source: std::sync::Arc<dyn Source>| {
            let labels =
                source.labels(None).ok().filter(|labels| labels.unlabelled() == 0 && !labels.classes().is_empty());
            let classes =
                labels.iter().flat_map(|found| (0..found.classes().len()).map(|class| found.classes().name(class)));
            let classes: Vec<String> = classes.collect();
            let labels =
                labels.iter().flat_map(|found| (0..source.len()).filter_map(|index| found.of(index))).collect();
            Shown::Source { source, classes, labels }
        };
        if arguments.side == SideName::All {
            return open(place).map(plain);
        }
        let Ok(found) = labelled(place, &crate::data::LabelOptions::default()).map_err(drop) else {
            return open(place).map(plain);
        };
        if found.held_out {
            // A source of one side is predicted as a whole.
            return open(place).map(plain);
        }
        let side = if arguments.side == SideName::Train { found.train } else { found.test };
        let classes = (0..found.classes.len()).map(|class| found.classes.name(class)).collect();
        Ok(Shown::Source { source: side.source, classes, labels: side.labels })
    }

    fn len(&self) -> usize {
        match self {
            Shown::Files(files) => files.len(),
            Shown::Source { source, .. } => source.len(),
        }
    }

    fn name(&self, index: usize) -> String {
        match self {
            Shown::Files(files) => files[index].display().to_string(),
            Shown::Source { source, .. } => source.name(index),
        }
    }

    /// The class of an image among the network's, if both are known.
    fn class(&self, index: usize, of: &[String]) -> Option<usize> {
        let Shown::Source { classes, labels, .. } = self else { return None };
        let name = classes.get(*labels.get(index)? as usize)?;
        of.iter().position(|class| class == name)
    }

    /// An image as validation sees it.
    fn view(&self, index: usize, model: &ModelConfig) -> Result<Vec<f32>, String> {
        let picture = match self {
            Shown::Files(files) => decode(&files[index], model.channels)?,
            Shown::Source { source, .. } => source.load(index, model.channels)?,
        };
        Ok(evaluation_view(&picture, model.image_height, model.image_width).normalise(&model.normalise))
    }
}

/// A fine-tuned network on a device.
struct Loaded {
    device: Device,
    predictor: Predictor,
    /// What the predictor reads.
    _weights: Weights,
}

impl Loaded {
    async fn new(device: Device, model: &Model, arguments: &Arguments) -> Result<Loaded> {
        let fail = |reason: String| Error::checkpoint(&arguments.checkpoint, reason);
        let (network, task) = (&model.config.model, model.config.planned_task());
        let classifier = model.config.classifier.as_ref().expect("looked at before");
        let arena = match arguments.weights {
            Which::Trained => WEIGHTS,
            Which::Average if model.teacher.is_some() => TEACHER,
            Which::Average => return Err(fail("it has no moving average; take the trained weights".into())),
        };
        let weights = Weights::of(&device, task.parameters(), model.teacher.is_some())?;
        model.write(&device, &weights).map_err(fail)?;
        let over = Over { layout: weights.layout(), arenas: weights.arenas(), arena };
        let (network, tuning) = (Network { model: network, classifier }, Tuning::for_device(&device).for_any_batch());
        let predictor = Predictor::over(&device, network, over, arguments.batch_size, tuning).await?;
        Ok(Loaded { device, predictor, _weights: weights })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ranked_with_probabilities_that_add_up() {
        let ranked = ranked(&[0.0, 2.0, 2.0, -1000.0]);
        assert_eq!(ranked.iter().map(|(class, _)| *class).collect::<Vec<_>>(), [1, 2, 0, 3]);
        assert!((ranked.iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-12 && ranked[3].1 == 0.0);
        let mut right = Right::default();
        right.add(&ranked, 1);
        right.add(&ranked, 2);
        assert_eq!((right.images, right.top1, right.top5), (2, 1, 2));
    }
}
