//! `bootmae pretrain`: train on a collection of images.

use std::path::PathBuf;

use clap::Args;

use super::{AdapterArguments, ModelArguments, progress::Progress};
use crate::{
    data,
    error::{Error, Result},
    train::{
        checkpoint::Checkpoint,
        config::{RunConfig, resolve},
        pretrain::{Event, Run, RunFolder},
    },
};

/// Pretrain on a collection of images.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A folder of images, searched recursively; tar shards, parquet files or arrays (shard-{000..012}.tar, *.parquet,
    /// IDX, .npy); cifar10:DIR or cifar100:DIR.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    /// The run's folder: configuration, metrics and checkpoint.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    model: ModelArguments,
    /// Settings in TOML; flags win over it, it wins over the preset.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Images of an update.
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Updates.
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    steps: Option<u64>,
    /// Passes over the collection.
    #[arg(long, value_name = "N")]
    epochs: Option<f64>,
    /// The share of images that may be unreadable, 0 to 1 (default 0.01).
    #[arg(long, value_name = "SHARE")]
    max_bad: Option<f64>,
    /// Decides weights, masks, crops and order.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Stop after this many updates of the run, with a checkpoint to resume from.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    stop_after: Option<u64>,
    #[command(flatten)]
    adapter: AdapterArguments,
    /// Continue the run in the folder from its checkpoint.
    #[arg(long)]
    resume: bool,
}

/// Trains to the end.
pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = RunFolder::create(&arguments.out)?;
    if !arguments.resume {
        folder.must_be_new()?;
    }
    let (config, resumed) = arguments.settle(&folder)?;
    let source = data::open(&config.data.source)?;
    data::enough_for(&*source, config.training.batch_size)?;
    let mut config = config;
    config.training.settle_epochs(source.len())?;
    if let Some(checkpoint) = &resumed {
        folder.check_resumable(checkpoint, &config)?;
        let began_with = &checkpoint.config.data.source;
        if *began_with != config.data.source {
            eprintln!("images now come from {} (the run began with {began_with})", config.data.source);
        }
    }
    let device = arguments.adapter.open()?;
    let (steps, batch) = (config.training.steps, config.training.batch_size);
    eprintln!("{} images, {steps} steps of {batch} images", source.len());
    let mut run = pollster::block_on(Run::new(config, folder, source, device, resumed))?;
    eprintln!(
        "{} parameters, {:.0} MiB of GPU memory",
        run.trainer().layout().count(),
        run.trainer().gpu_bytes() as f64 / f64::from(1 << 20)
    );
    let mut progress = Progress::new(steps, run.step());
    let trained = pollster::block_on(run.train(arguments.stop_after, |event| match event {
        Event::Step(metrics) => progress.update(metrics),
        Event::BadImage(name) => progress.println(&format!("skipped: {name}")),
        Event::Saved(_) => {}
    }));
    progress.finish();
    trained?;
    eprintln!("step {} of {steps}: {}", run.step(), arguments.out.join("checkpoint.safetensors").display());
    Ok(())
}

impl Arguments {
    /// The configuration of the run, and the checkpoint it resumes from. A resumed run takes its settings from the
    /// checkpoint; flags that disagree are refused.
    fn settle(&self, folder: &RunFolder) -> Result<(RunConfig, Option<Checkpoint>)> {
        let flags = self.flags();
        if !self.resume {
            let config = resolve(self.model.model.as_deref(), self.config.as_deref(), flags)?;
            if config.data.source.is_empty() {
                return Err(Error::Config("no images: give --data DIR, or data.source in the configuration".into()));
            }
            return Ok((config, None));
        }
        let checkpoint = Checkpoint::load(&folder.checkpoint())?;
        let mut config = match (&self.config, &self.model.model) {
            (None, None) => {
                let held = checkpoint.config.to_toml()?.parse().map_err(|e| Error::Config(format!("{e}")))?;
                resolve(None, None, overlay(held, flags))?
            }
            (file, preset) => resolve(preset.as_deref(), file.as_deref(), flags)?,
        };
        if config.data.source.is_empty() {
            config.data.source.clone_from(&checkpoint.config.data.source);
        }
        Ok((config, Some(checkpoint)))
    }

    fn flags(&self) -> toml::Table {
        let mut training = toml::Table::new();
        let mut set = |key: &str, value: Option<toml::Value>| {
            value.and_then(|value| training.insert(key.into(), value));
        };
        set("batch_size", self.batch_size.map(|n| (n as i64).into()));
        set("steps", self.steps.map(|n| (n as i64).into()));
        set("epochs", self.epochs.map(Into::into));
        set("seed", self.seed.map(|n| (n as i64).into()));
        let source = self.data.iter().map(|source| ("source".to_string(), source.clone().into()));
        let max_bad = self.max_bad.iter().map(|&share| ("max_bad_fraction".to_string(), share.into()));
        toml::Table::from_iter([
            ("model".to_string(), self.model.table().into()),
            ("training".to_string(), training.into()),
            ("data".to_string(), toml::Table::from_iter(source.chain(max_bad)).into()),
        ])
    }
}

/// `upper`'s sections laid over `lower`'s; an image size there takes the place of both sides here.
fn overlay(mut lower: toml::Table, upper: toml::Table) -> toml::Table {
    for (section, keys) in upper {
        let (Some(toml::Value::Table(held)), toml::Value::Table(keys)) = (lower.get_mut(&section), keys) else {
            continue;
        };
        if keys.contains_key("image_size") {
            held.retain(|key, _| key != "image_height" && key != "image_width");
        }
        held.extend(keys);
    }
    lower
}
