//! `bootmae pretrain`: train on a collection of images.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    arguments::{ModelArguments, overlay},
    checkpoint::AskedArguments,
    init_from,
    numbers::{MOST, whole},
    run_arguments::RunArguments,
    terminal::errln,
    training::{self, Trains},
};
use crate::{
    data::{self, LabelOptions, labelled},
    error::{Error, Result},
    rng::{Rng, Stream},
    run::{
        evaluation::Evaluation,
        pretrain::{Images, Start},
    },
    text::shown,
    train::config::{RunConfig, resolve, resolve_over},
};

/// Pretrain on a collection of images.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A folder of images, searched recursively; tar shards, parquet files or arrays (shard-{000..012}.tar, *.parquet,
    /// IDX, .npy); cifar10:DIR or cifar100:DIR.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    /// Settings that come with the program: imagenet-base, imagenet-large, mae-base, mae-large, cifar10-tiny,
    /// small-data, demo, or an ablation (docs/configuration.md).
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    run: RunArguments,
    /// Start from the weights (and nothing else) of a run, checkpoint or model file, or of a checkpoint of BootMAE's or MAE's
    /// own program, timm, DeiT or Hugging Face. Decoders that it does not have are drawn from the seed.
    #[arg(long, value_name = "PATH")]
    init_from: Option<PathBuf>,
    #[command(flatten)]
    asked: AskedArguments,
    /// Steps between two evaluations: the accuracy of nearest neighbours on a fixed part of labelled images, of student and
    /// teacher.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, MOST))]
    evaluate_every: Option<u64>,
    /// Labelled images to evaluate on; those of --data without it.
    #[arg(long, value_name = "SOURCE", requires = "evaluate_every")]
    evaluate_data: Option<String>,
    /// Steps between two pictures of a reconstruction; 0 draws none.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0, MOST))]
    sample_every: Option<u64>,
}

/// Trains to the end, or until something stops the run.
pub fn run(arguments: &Arguments) -> Result<()> {
    training::run(arguments)
}

impl Trains for Arguments {
    const NAME: &'static str = "pretrain";

    fn run(&self) -> &RunArguments {
        &self.run
    }

    fn settings(&self) -> Result<RunConfig> {
        let (shipped, size) = (self.preset.as_deref(), self.model.model.as_deref());
        resolve_over(shipped, size, self.run.config.as_deref(), self.flags())
    }

    fn resumed(&self, held: &RunConfig) -> Result<RunConfig> {
        let flags = self.flags();
        let mut config = match (&self.preset, &self.run.config, &self.model.model) {
            (None, None, None) => {
                let held = held.to_toml()?.parse().map_err(|e| Error::Config(format!("{e}")))?;
                resolve(None, None, overlay(held, flags))?
            }
            (shipped, file, size) => resolve_over(shipped.as_deref(), size.as_deref(), file.as_deref(), flags)?,
        };
        if config.data.source.is_empty() {
            config.data.source.clone_from(&held.data.source);
        }
        Ok(config)
    }

    fn images(&self, config: &mut RunConfig) -> Result<(Images, Vec<String>)> {
        let source = data::open_beside(&config.data.source, Some(&self.run.out))?;
        let Some(evaluation) = &config.evaluation else { return Ok((Images::plain(source), Vec::new())) };
        let options = LabelOptions {
            column: evaluation.label_column.clone(),
            run: Some(self.run.out.clone()),
            ..LabelOptions::default()
        };
        let found = labelled(evaluation.data.as_ref().unwrap_or(&config.data.source), &options)?;
        let classes = (0..found.classes.len()).map(|class| found.classes.name(class)).collect();
        let mut rng = Rng::new(config.training.seed, Stream::Evaluate, 0, 0);
        let train = found.train.some(evaluation.train_images, &mut rng);
        let test = found.test.some(evaluation.test_images, &mut rng);
        let how = format!("evaluated on {} of {}", test.labels.len(), shown(&found.how));
        let evaluation = Some(Evaluation::Neighbours { train, test, classes });
        Ok((Images { source, labels: Vec::new(), evaluation }, vec![how]))
    }

    fn start(&self, config: &RunConfig) -> Result<Start> {
        Ok(match &config.training.init_from {
            Some(path) => Start::Weights(Box::new(self.asked.open(Path::new(path))?)),
            None => Start::Seed,
        })
    }

    fn fitted(&self, start: Start, config: &RunConfig) -> Result<Start> {
        let Start::Weights(model) = start else { return Ok(start) };
        let (model, notes) = init_from::fitted(*model, config);
        notes.iter().for_each(|note| errln!("{note}"));
        Ok(Start::Weights(Box::new(model)))
    }
}

impl Arguments {
    fn flags(&self) -> toml::Table {
        let mut flags = self.run.flags(self.data.as_deref());
        flags.insert("model".into(), self.model.table().into());
        if let Some(toml::Value::Table(training)) = flags.get_mut("training") {
            if let Some(path) = &self.init_from {
                training.insert("init_from".into(), path.to_string_lossy().into_owned().into());
            }
            if let Some(every) = self.sample_every {
                training.insert("sample_every_steps".into(), (every as i64).into());
            }
        }
        if self.evaluate_every.is_some() || self.evaluate_data.is_some() {
            let every = self.evaluate_every.iter().map(|every| ("every_steps".to_string(), (*every as i64).into()));
            let data = self.evaluate_data.iter().map(|data| ("data".to_string(), data.clone().into()));
            flags.insert("evaluation".into(), toml::Table::from_iter(every.chain(data)).into());
        }
        flags
    }
}
