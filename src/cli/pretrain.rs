//! `bootmae pretrain`: train on a collection of images.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    arguments::{AdapterArguments, ModelArguments, overlay},
    dry_run,
    longer::{from_weights, longer},
    numbers::{MOST, positive, share, whole},
    progress::Progress,
    signals,
    terminal::{self, errln},
    tuning::TuningArguments,
};
use crate::{
    checkpoint::{read_any, read_model},
    data,
    device::Device,
    error::{Error, Result},
    kernels::Tuning,
    lower::{Precision, Recompute},
    report::log::TrainLog,
    run::{
        pretrain::{Event, Run, Start},
        run_folder::{Entry, RunFolder, check_resumable},
        stop::{Ended, Stops, parse_time},
    },
    tasks::Pretrain,
    text::{shown, shown_lines},
    train::{
        config::{Passes, RunConfig, resolve, resolve_over},
        images,
        memory::{fit, footprint, mib, usable_bytes},
        training::kept_tuning,
        work,
    },
};

/// Pretrain on a collection of images.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A folder of images, searched recursively; tar shards, parquet files or arrays (shard-{000..012}.tar, *.parquet,
    /// IDX, .npy); cifar10:DIR or cifar100:DIR.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    /// The run's folder: configuration, metrics and checkpoints. It must be empty, unless --resume or --overwrite is given.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Settings that come with the program: imagenet-base, imagenet-large, mae-base, mae-large, cifar10-tiny,
    /// small-data, demo, or an ablation (docs/configuration.md).
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    #[command(flatten)]
    model: ModelArguments,
    /// Settings in TOML; flags win over it, it wins over --preset.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Images of an update.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST))]
    batch_size: Option<usize>,
    /// Images of one forward and backward pass, a divisor of the batch size; auto takes as many as the GPU's memory allows.
    #[arg(long, value_name = "auto|N")]
    micro_batch: Option<String>,
    /// What the backward pass computes again instead of holding it, for larger micro-batches: none, attention or blocks.
    /// The results keep their bits.
    #[arg(long, value_name = "WHAT")]
    recompute: Option<Recompute>,
    /// In what precision weights and activations are multiplied and kept: f32, or f16, which takes less memory and, where
    /// the GPU has matrix units, less time. Sums, softmax, losses and the weights themselves stay f32.
    #[arg(long, value_name = "f32|f16")]
    precision: Option<Precision>,
    /// Use at most this much GPU memory, instead of nine tenths of what the adapter says it has.
    #[arg(long, value_name = "MIB", value_parser = whole::<u64>(1, MOST >> 20))]
    gpu_memory_mib: Option<u64>,
    /// Updates.
    #[arg(long, value_name = "N", conflicts_with = "epochs", value_parser = whole::<u64>(1, MOST))]
    steps: Option<u64>,
    /// Passes over the collection.
    #[arg(long, value_name = "N", value_parser = positive)]
    epochs: Option<f64>,
    /// The share of images that may be unreadable, 0 to 1 (default 0.01).
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_bad: Option<f64>,
    /// Decides weights, masks, crops and order: 0 to 2^63 - 1.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0, MOST))]
    seed: Option<u64>,
    /// Stop after this many updates of the run, with a checkpoint to resume from.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, MOST))]
    stop_after: Option<u64>,
    /// Stop after this time, with a checkpoint to resume from: 8h, 30m, 90s, 1h30m.
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    time_limit: Option<Duration>,
    #[command(flatten)]
    adapter: AdapterArguments,
    #[command(flatten)]
    tuning: TuningArguments,
    /// Continue the run in the folder from its newest complete checkpoint, or from the checkpoint at PATH; without any
    /// checkpoint yet, start from the beginning.
    #[arg(long, value_name = "auto|PATH", num_args = 0..=1, default_missing_value = "auto", conflicts_with = "overwrite")]
    resume: Option<String>,
    /// Go on with a collection whose images are others, or in another order, than when the run began.
    #[arg(long, requires = "resume")]
    allow_changed_data: bool,
    /// Remove the run in the folder and start from the beginning.
    #[arg(long)]
    overwrite: bool,
    /// Start from the weights (and nothing else) of a run, checkpoint or model file.
    #[arg(long, value_name = "PATH")]
    init_from: Option<PathBuf>,
    /// Say what would run, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Steps between two checkpoints.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, MOST))]
    save_every: Option<u64>,
    /// Checkpoints kept.
    #[arg(long, value_name = "K", value_parser = whole::<usize>(1, MOST))]
    keep: Option<usize>,
    /// Steps between two pictures of a reconstruction; 0 draws none.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0, MOST))]
    sample_every: Option<u64>,
}

/// What a person is told, on standard error and in the run's log; before there is a log, lines are kept for it.
#[derive(Default)]
struct Told {
    early: Vec<String>,
    log: Option<TrainLog>,
}

impl Told {
    fn say(&mut self, line: &str) {
        errln!("{}", shown(line));
        self.note(&shown(line));
    }

    /// Writes a line that a person is told elsewhere.
    fn note(&mut self, line: &str) {
        match &mut self.log {
            Some(log) => log.note(line),
            None => self.early.push(line.to_owned()),
        }
    }

    fn open(&mut self, folder: &RunFolder) -> Result<()> {
        let mut log = TrainLog::open(folder.path())?;
        self.early.drain(..).for_each(|line| log.note(&line));
        self.log = Some(log);
        Ok(())
    }
}

/// Trains to the end, or until something stops the run.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut told = Told::default();
    let result = train(arguments, &mut told).map_err(|error| match error {
        // Of the run's own files, once it has begun.
        Error::Io { path, source } if told.log.is_some() && path.starts_with(&arguments.out) => Error::checkpoint(
            path,
            format!("{source}; checkpoints are untouched. Make room or mend the path, then continue with --resume"),
        ),
        other => other,
    });
    if let Err(error) = &result {
        told.note(&error.to_string());
    }
    result
}

fn train(arguments: &Arguments, told: &mut Told) -> Result<()> {
    let stops = Stops {
        after: arguments.stop_after,
        at: arguments.time_limit.map(|limit| Instant::now() + limit),
        signal: Some(signals::install()?),
    };
    let out = &arguments.out;
    let mut begun = arguments.begin(told)?;
    let source = data::open_beside(&begun.config.data.source, Some(out))?;
    source.passed_over().lines().iter().for_each(|line| told.say(line));
    if let Start::Resumed(from) = &mut begun.start {
        let remark = images::compare(&mut from.snapshot, &*source, arguments.allow_changed_data)?;
        remark.iter().for_each(|remark| told.say(remark));
    }
    let mut config = begun.config;
    data::enough_for(&*source, config.training.batch_size)?;
    config.training.settle_epochs(source.len())?;
    if let Some(count) = arguments.micro_batches(config.training.batch_size)? {
        config.training.micro_batches = count;
    }
    if let Start::Resumed(from) = &begun.start {
        if arguments.micro_batch.as_deref() == Some("auto") {
            // What was chosen at the start: other parts would round differently.
            config.training.micro_batches = from.snapshot.config.training.micro_batches;
        }
        check_resumable(&from.snapshot, &from.path, &config).map_err(|error| longer(error, from, &config, out))?;
        let began_with = &from.snapshot.config.data.source;
        if *began_with != config.data.source {
            told.say(&format!("images now come from {} (the run began with {began_with})", config.data.source));
        }
    }
    if arguments.dry_run {
        terminal::out(format_args!("{}", shown_lines(&dry_run::describe(&config, source.len(), out)?)));
        return Ok(());
    }
    let device = arguments.adapter.open()?;
    if let Some(line) = arguments.adapter.remark(&device) {
        told.say(&line);
    }
    let resumed = matches!(begun.start, Start::Resumed(_));
    if let Some(line) = arguments.settle_memory(&device, &mut config, resumed)? {
        told.say(&line);
    }
    let (steps, batch) = (config.training.steps, config.training.batch_size);
    let name = device.adapter().to_string();
    let folder = match begun.folder {
        Some(folder) => folder,
        None => RunFolder::enter(out, if arguments.overwrite { Entry::Overwrite } else { Entry::New })?,
    };
    told.open(&folder)?;
    told.note(&format!("bootmae {} on {name}", env!("CARGO_PKG_VERSION")));
    told.say(&format!("{} images, {steps} steps of {batch} images", source.len()));
    let kept = match &begun.start {
        Start::Resumed(from) => {
            let runs = |tuning: &Tuning| tuning.runs_on(&device, config.training.precision);
            let kept = kept_tuning(&from.snapshot, &device.adapter().name, &Tuning::for_device(&device), runs);
            if kept.is_none() {
                told.say("the checkpoint's kernel variants are for another adapter or program; its bits will differ");
            }
            kept
        }
        _ => None,
    };
    let tuning = match kept {
        Some(tuning) => tuning,
        None => {
            let (micro_batch, precision) = (config.training.micro_batch_size(), config.training.precision);
            let work = work(&device, &Pretrain::of(&config.model), micro_batch, precision);
            arguments.tuning.settle(&device, work, precision, false)?
        }
    };
    let mut run = pollster::block_on(Run::new(config, folder, source, device, tuning, begun.start))?;
    told.say(&format!(
        "{} parameters, {:.0} MiB of GPU memory",
        run.trainer().layout().count(),
        run.trainer().gpu_bytes() as f64 / f64::from(1 << 20)
    ));
    let mut progress = Progress::new(steps, run.step());
    let mut last = None;
    let ended = pollster::block_on(run.train(&stops, |event| match event {
        Event::Step(metrics) => progress.update(metrics),
        Event::BadImage(name) => {
            progress.println(&format!("skipped: {name}"));
            told.note(&format!("skipped: {name}"));
        }
        Event::Recovered(what, step) => {
            progress.println(what);
            progress.back_to(step);
            told.note(what);
        }
        Event::Saved(saved) => {
            told.note(&format!("saved step {}: {}", saved.step, saved.path.display()));
            last = Some(saved.path.clone());
        }
    }));
    progress.finish();
    let place = last.map(|path| format!(": {}", path.display())).unwrap_or_default();
    let reached = format!("step {} of {steps}{place}", run.step());
    let on = format!("continue with --resume --out {}", out.display());
    match ended? {
        Ended::Finished => told.say(&reached),
        Ended::StoppedAfter => told.say(&format!("{reached}; {on}")),
        Ended::TimeLimit => told.say(&format!("time limit reached after {reached}; {on}")),
        Ended::Signal => return Err(Error::Stopped(format!("stopped by a signal after {reached}; {on}"))),
    }
    Ok(())
}

/// What a run begins with: its settings, where they come from, and its folder if it was entered already.
struct Begun {
    config: RunConfig,
    start: Start,
    folder: Option<RunFolder>,
}

impl Arguments {
    /// Reads settings and, where the run goes on, its state. A resumed run takes its settings from the checkpoint; flags
    /// that disagree are refused later. Writes nothing where the run is new.
    fn begin(&self, told: &mut Told) -> Result<Begun> {
        let mut folder = None;
        if let Some(from) = &self.resume {
            let from = (from != "auto").then(|| PathBuf::from(from));
            if self.dry_run {
                // Nothing is locked or written.
                let held = read_any(from.as_deref().unwrap_or(&self.out))?;
                let config = self.resumed_config(&held.config)?;
                return Ok(Begun { config, start: Start::Seed, folder: None });
            }
            // From elsewhere a run goes on in a folder of its own.
            let elsewhere = from.as_ref().is_some_and(|path| !inside(path, &self.out));
            let entered = RunFolder::enter(&self.out, if elsewhere { Entry::New } else { Entry::Resume })?;
            if let Some(resumed) = entered.resume(from.as_deref())? {
                resumed.remarks.iter().for_each(|remark| told.say(remark));
                told.say(&format!("continuing after step {}: {}", resumed.snapshot.step, resumed.path.display()));
                let config = self.resumed_config(&resumed.snapshot.config)?;
                return Ok(Begun { config, start: Start::Resumed(Box::new(resumed)), folder: Some(entered) });
            }
            told.say(&format!("no checkpoint in {} yet: starting from the beginning", self.out.display()));
            folder = Some(entered);
        }
        let (shipped, size) = (self.preset.as_deref(), self.model.model.as_deref());
        let config = resolve_over(shipped, size, self.config.as_deref(), self.flags())?;
        if config.data.source.is_empty() {
            return Err(Error::Config("no images: give --data DIR, or data.source in the configuration".into()));
        }
        let start = match &config.training.init_from {
            Some(path) => Start::Weights(Box::new(read_model(Path::new(path))?)),
            None => Start::Seed,
        };
        Ok(Begun { config, start, folder })
    }

    /// Makes sure, before anything is allocated, that the run fits the GPU's memory; chooses the micro-batch where that is
    /// left to the program, and says so. A resumed run has its own already.
    fn settle_memory(&self, device: &Device, config: &mut RunConfig, resumed: bool) -> Result<Option<String>> {
        let usable = usable_bytes(device, self.gpu_memory_mib.map(|mib| mib << 20));
        let (batch, passes) = (config.training.batch_size, config.training.passes());
        if self.micro_batch.as_deref() == Some("auto") && !resumed {
            let found = fit(device, &Pretrain::of(&config.model), passes, usable)?;
            config.training.micro_batches = found.micro_batches;
            let needs = mib(found.footprint.total());
            return Ok(Some(format!("micro-batch {} ({} an update): {needs}", found.micro_batch, found.micro_batches)));
        }
        let footprint = footprint(device, &Pretrain::of(&config.model), passes)?;
        let needs = footprint.total();
        match usable {
            Some(usable) if needs > usable && resumed => {
                Err(Error::Gpu(self.smaller_on_resume(device, config, needs, usable)))
            }
            Some(usable) if needs > usable => Err(Error::Gpu(format!(
                "this run needs {} of GPU memory; {} has {} for it. Give --micro-batch auto, which keeps the batch of \
                 {batch} images, --recompute blocks, or a smaller --model",
                mib(needs),
                device.adapter().name,
                mib(usable)
            ))),
            _ if footprint.is_too_long(device) => Ok(Some(
                "one dispatch of this step may take longer than some systems let a GPU work; --micro-batch auto divides it"
                    .into(),
            )),
            _ => Ok(None),
        }
    }

    /// What lets a run go on in less memory than it needs. Its parts may not change, since their sums would round
    /// otherwise; what is computed again may.
    fn smaller_on_resume(&self, device: &Device, config: &RunConfig, needs: u64, usable: u64) -> String {
        let passes = config.training.passes();
        let begins = format!(
            "this run needs {} of GPU memory; {} has {} for it",
            mib(needs),
            device.adapter().name,
            mib(usable)
        );
        let less = [Recompute::Attention, Recompute::Blocks].into_iter().find_map(|recompute| {
            let needs = footprint(device, &Pretrain::of(&config.model), Passes { recompute, ..passes }).ok()?.total();
            (needs <= usable).then_some((recompute, needs))
        });
        if let Some((recompute, needs)) = less {
            return format!("{begins}. Resume with --recompute {recompute}: {}, with the same bits", mib(needs));
        }
        let parts = passes.micro_batches;
        let again = Passes { recompute: Recompute::Blocks, ..passes };
        let other = match fit(device, &Pretrain::of(&config.model), again, Some(usable)) {
            Ok(_) => format!(
                "or begin another run from its weights, without its moments: {} --micro-batch auto --recompute blocks",
                from_weights(&self.out, "")
            ),
            Err(_) => "since not even one image at a time fits here".into(),
        };
        format!(
            "{begins}. A resumed run keeps its {parts} parts of {} images, and --recompute blocks does not save enough. \
             Resume on a larger GPU, {other}",
            config.training.micro_batch_size()
        )
    }

    /// The number of micro-batches that the flag asks for; none where it is left to the GPU's memory.
    fn micro_batches(&self, batch: usize) -> Result<Option<usize>> {
        let Some(text) = self.micro_batch.as_deref().filter(|text| *text != "auto") else { return Ok(None) };
        match text.parse::<usize>() {
            Ok(size) if size > 0 && batch.is_multiple_of(size) => Ok(Some(batch / size)),
            _ => Err(Error::Config(format!(
                "--micro-batch is auto or a divisor of the batch size {batch}, not `{text}`"
            ))),
        }
    }

    fn resumed_config(&self, held: &RunConfig) -> Result<RunConfig> {
        let flags = self.flags();
        let mut config = match (&self.preset, &self.config, &self.model.model) {
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

    fn flags(&self) -> toml::Table {
        let mut training = toml::Table::new();
        let mut set = |key: &str, value: Option<toml::Value>| {
            value.and_then(|value| training.insert(key.into(), value));
        };
        set("batch_size", self.batch_size.map(|n| (n as i64).into()));
        set("steps", self.steps.map(|n| (n as i64).into()));
        set("epochs", self.epochs.map(Into::into));
        set("recompute", self.recompute.map(|what| what.to_string().into()));
        set("precision", self.precision.map(|what| what.to_string().into()));
        set("seed", self.seed.map(|n| (n as i64).into()));
        set("init_from", self.init_from.as_ref().map(|path| path.to_string_lossy().into_owned().into()));
        set("save_every_steps", self.save_every.map(|n| (n as i64).into()));
        set("sample_every_steps", self.sample_every.map(|n| (n as i64).into()));
        set("keep_checkpoints", self.keep.map(|n| (n as i64).into()));
        let source = self.data.iter().map(|source| ("source".to_string(), source.clone().into()));
        let max_bad = self.max_bad.iter().map(|&share| ("max_bad_fraction".to_string(), share.into()));
        toml::Table::from_iter([
            ("model".to_string(), self.model.table().into()),
            ("training".to_string(), training.into()),
            ("data".to_string(), toml::Table::from_iter(source.chain(max_bad)).into()),
        ])
    }
}

/// Whether `path` is `folder` or in it.
fn inside(path: &Path, folder: &Path) -> bool {
    match (path.canonicalize(), folder.canonicalize()) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}
