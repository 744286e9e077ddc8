//! `bootmae predict`: what a fine-tuned network takes images for.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};

use super::{
    arguments::AdapterArguments,
    checkpoint::CheckpointArguments,
    numbers::{MOST, whole},
    output::Output,
    terminal::{self, errln},
};
use crate::{
    checkpoint::Model,
    data::{Classes, LabelOptions, Part, Source, chosen, decode, each, is_same_place, labelled},
    device::Device,
    error::{Error, Result},
    infer::predictor::{Network, Over, Predictor, probabilities},
    kernels::Tuning,
    model::{ModelConfig, WEIGHTS, Weights},
    text::shown,
    train::{config::RunConfig, snapshot::TEACHER},
};

/// Say which classes a fine-tuned network takes images for, with probabilities.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    checkpoint: CheckpointArguments,
    /// Images.
    #[arg(value_name = "IMAGE", required_unless_present = "data")]
    images: Vec<PathBuf>,
    /// A source of images, as `pretrain --data` names them; of one that is labelled, accuracy is told.
    #[arg(long, value_name = "SOURCE", conflicts_with = "images")]
    data: Option<String>,
    /// Which images of a source. Without it, of the run's own those that it was evaluated on, of another one the side to test
    /// on, or all where there is one side.
    #[arg(long, value_name = "SIDE", requires = "data")]
    side: Option<SideName>,
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
    let model = arguments.checkpoint.open()?;
    let Some(classifier) = model.config.classifier.clone() else {
        let reason = "it has no classifier; `bootmae finetune --checkpoint` trains one on it";
        return Err(Error::checkpoint(&arguments.checkpoint.checkpoint, reason));
    };
    let mut inputs: Vec<_> = arguments.images.iter().map(PathBuf::as_path).collect();
    inputs.push(&arguments.checkpoint.checkpoint);
    let output = arguments.out.as_ref().map(|out| Output::new("--out", out, &inputs)).transpose()?;
    let json = match arguments.out.as_ref().and_then(|out| out.extension()?.to_str()) {
        Some("json") => true,
        Some("csv") | None => false,
        Some(other) => return Err(Error::Config(format!("--out ends in .csv or .json, not .{other}"))),
    };
    let images = Shown::open(arguments, &model.config)?;
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
    let text = written(&predictions, json).map_err(|e| Error::Config(format!("the predictions: {e}")))?;
    match &output {
        Some(output) => output.write(|to| to.write_all(&text))?,
        None => terminal::out(format_args!("{}", String::from_utf8_lossy(&text))),
    }
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

/// Predictions as JSON, or as CSV.
fn written(predictions: &[Prediction], json: bool) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if json {
        serde_json::to_writer_pretty(&mut text, predictions)?;
        text.push(b'\n');
        return Ok(text);
    }
    let mut table = csv::Writer::from_writer(&mut text);
    let most = predictions.first().map_or(0, |first| first.classes.len());
    let numbered = (1..=most).flat_map(|n| [format!("class_{n}"), format!("probability_{n}")]);
    table.write_record(std::iter::once("image".to_string()).chain(numbered))?;
    for Prediction { image, classes } in predictions {
        let told = classes.iter().flat_map(|(class, p)| [class.clone(), format!("{p:.6}")]);
        table.write_record(std::iter::once(image.clone()).chain(told))?;
    }
    table.flush()?;
    drop(table);
    Ok(text)
}

/// Classes and their probabilities, the most probable first, of equal ones the lower class.
fn ranked(logits: &[f32]) -> Vec<(usize, f64)> {
    let wide: Vec<f64> = logits.iter().map(|z| f64::from(*z)).collect();
    let mut ranked: Vec<(usize, f64)> = probabilities(&wide).into_iter().enumerate().collect();
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
    /// Images of one source after the other, with their classes as far as they are known.
    Sources {
        sources: Vec<Arc<dyn Source>>,
        classes: Classes,
        labels: Vec<Option<u32>>,
    },
}

impl Shown {
    fn open(arguments: &Arguments, config: &RunConfig) -> Result<Shown> {
        let Some(place) = &arguments.data else { return Ok(Shown::Files(arguments.images.clone())) };
        let finetune = config.finetune.as_ref();
        let column = finetune.and_then(|finetune| finetune.label_column.clone());
        let part = arguments.side.map(|side| match side {
            SideName::Train => Part::Train,
            SideName::Test => Part::Test,
            SideName::All => Part::All,
        });
        if is_same_place(place, &config.data.source) && part != Some(Part::All) {
            // What the run held out is known by its seed.
            let test = finetune.and_then(|finetune| finetune.validation.clone());
            let options = LabelOptions { test, column, seed: config.training.seed, ..LabelOptions::default() };
            let found = labelled(place, &options)?;
            errln!("{}", shown(&found.how));
            let side = if part == Some(Part::Train) { found.train } else { found.test };
            let labels = side.labels.into_iter().map(Some).collect();
            return Ok(Shown::Sources { sources: vec![side.source], classes: found.classes, labels });
        }
        let mut found = chosen(place, part, column.as_deref(), false)?;
        if part.is_none() && found.part == Part::Train {
            found = chosen(place, Some(Part::Test), column.as_deref(), false)?;
        }
        errln!("{}", shown(&found.how));
        let labels = (0..found.labels.len()).map(|image| found.labels.of(image)).collect();
        Ok(Shown::Sources { sources: found.sources, classes: found.labels.classes().clone(), labels })
    }

    fn len(&self) -> usize {
        match self {
            Shown::Files(files) => files.len(),
            Shown::Sources { labels, .. } => labels.len(),
        }
    }

    /// The source of an image, and its number there.
    fn place(sources: &[Arc<dyn Source>], mut index: usize) -> (&dyn Source, usize) {
        for source in sources {
            match index.checked_sub(source.len()) {
                Some(rest) => index = rest,
                None => return (&**source, index),
            }
        }
        unreachable!("an image of the sources")
    }

    fn name(&self, index: usize) -> String {
        match self {
            Shown::Files(files) => files[index].display().to_string(),
            Shown::Sources { sources, .. } => {
                let (source, at) = Shown::place(sources, index);
                source.name(at)
            }
        }
    }

    /// The class of an image among the network's, if both are known.
    fn class(&self, index: usize, of: &[String]) -> Option<usize> {
        let Shown::Sources { classes, labels, .. } = self else { return None };
        let name = classes.name(labels[index]? as usize);
        of.iter().position(|class| *class == name)
    }

    /// An image as validation sees it.
    fn view(&self, index: usize, model: &ModelConfig) -> Result<Vec<f32>, String> {
        let picture = match self {
            Shown::Files(files) => decode(&files[index], model.channels)?,
            Shown::Sources { sources, .. } => {
                let (source, at) = Shown::place(sources, index);
                source.load(at, model.channels)?
            }
        };
        Ok(model.evaluation_view(&picture).normalise(&model.normalise))
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
        let fail = |reason: String| Error::checkpoint(&arguments.checkpoint.checkpoint, reason);
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
