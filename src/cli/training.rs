//! What the verbs that train have in common: their flags, how a run begins, goes on and ends.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    arguments::AdapterArguments,
    dry_run,
    longer::longer,
    memory::{Memory, settle_memory},
    numbers::{MOST, positive, share, whole},
    progress::Progress,
    ranks, signals,
    terminal::{self, errln},
    tuning::TuningArguments,
};
use crate::{
    checkpoint::read_any,
    data,
    dist::World,
    error::{Error, Result},
    kernels::Tuning,
    lower::{Precision, Recompute},
    report::log::TrainLog,
    run::{
        follower::Follower,
        pretrain::{Event, Images, Run, Start},
        run_folder::{Entry, Resumed, RunFolder, check_resumable},
        stop::{Ended, Stops, parse_time},
    },
    text::{shown, shown_lines},
    train::{config::RunConfig, images, team::Team, training::kept_tuning, work},
};

/// Flags of a run, whatever it trains.
#[derive(Args, Debug)]
pub(super) struct RunArguments {
    /// The run's folder: configuration, metrics and checkpoints. It must be empty, unless --resume or --overwrite is given.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Settings in TOML; flags win over it, it wins over --preset.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Images of an update.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST))]
    pub(super) batch_size: Option<usize>,
    /// Images of one forward and backward pass, a divisor of the batch size; auto takes as many as the GPU's memory allows.
    #[arg(long, value_name = "auto|N")]
    pub(super) micro_batch: Option<String>,
    /// What the backward pass computes again instead of holding it, for larger micro-batches: none, attention or blocks.
    /// The results keep their bits.
    #[arg(long, value_name = "WHAT")]
    pub(super) recompute: Option<Recompute>,
    /// In what precision weights and activations are multiplied and kept: f32, or f16, which takes less memory and, where
    /// the GPU has matrix units, less time. Sums, softmax, losses and the weights themselves stay f32.
    #[arg(long, value_name = "f32|f16")]
    pub(super) precision: Option<Precision>,
    /// Use at most this much GPU memory, instead of nine tenths of what the adapter says it has.
    #[arg(long, value_name = "MIB", value_parser = whole::<u64>(1, MOST >> 20))]
    pub(super) gpu_memory_mib: Option<u64>,
    /// Updates.
    #[arg(long, value_name = "N", conflicts_with = "epochs", value_parser = whole::<u64>(1, MOST))]
    pub(super) steps: Option<u64>,
    /// Passes over the collection.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) epochs: Option<f64>,
    /// The share of images that may be unreadable, 0 to 1 (default 0.01).
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(super) max_bad: Option<f64>,
    /// Decides weights, masks, crops and order: 0 to 2^63 - 1.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0, MOST))]
    pub(super) seed: Option<u64>,
    /// Stop after this many updates of the run, with a checkpoint to resume from.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, MOST))]
    pub(super) stop_after: Option<u64>,
    /// Stop after this time, with a checkpoint to resume from: 8h, 30m, 90s, 1h30m.
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    pub(super) time_limit: Option<Duration>,
    #[command(flatten)]
    pub(super) adapter: AdapterArguments,
    #[command(flatten)]
    pub(super) tuning: TuningArguments,
    /// Continue the run in the folder from its newest complete checkpoint, or from the checkpoint at PATH; without any
    /// checkpoint yet, start from the beginning.
    #[arg(long, value_name = "auto|PATH", num_args = 0..=1, default_missing_value = "auto", conflicts_with = "overwrite")]
    pub(super) resume: Option<String>,
    /// Go on with a collection whose images are others, or in another order, than when the run began.
    #[arg(long, requires = "resume")]
    pub(super) allow_changed_data: bool,
    /// Remove the run in the folder and start from the beginning.
    #[arg(long)]
    pub(super) overwrite: bool,
    /// Say what would run, and write nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Of several processes (mpirun, srun): let those of a machine share its GPUs where it has fewer.
    #[arg(long)]
    pub(super) share_adapter: bool,
    /// Of several processes: seconds to wait for another one before the job ends with its name.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = whole::<u64>(1, 86_400))]
    pub(super) watchdog: u64,
    /// Steps between two checkpoints.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, MOST))]
    pub(super) save_every: Option<u64>,
    /// Checkpoints kept.
    #[arg(long, value_name = "K", value_parser = whole::<usize>(1, MOST))]
    pub(super) keep: Option<usize>,
}

/// A verb that trains.
pub(super) trait Trains {
    /// What it is called.
    const NAME: &'static str;

    /// The flags of its run.
    fn run(&self) -> &RunArguments;

    /// The settings of a new run.
    fn settings(&self) -> Result<RunConfig>;

    /// The settings of a run that goes on, whose checkpoint has these. Flags that disagree are refused later.
    fn resumed(&self, held: &RunConfig) -> Result<RunConfig>;

    /// Opens the images and settles what follows from them; returns remarks too.
    fn images(&self, config: &mut RunConfig) -> Result<(Images, Vec<String>)>;

    /// What a new run starts from, as it was read.
    fn start(&self, config: &RunConfig) -> Result<Start>;

    /// The same made fit for the run, once its images are known.
    fn fitted(&self, start: Start, _config: &RunConfig) -> Result<Start> {
        Ok(start)
    }
}

/// What a person is told, on standard error and in the run's log; before there is a log, lines are kept for it.
#[derive(Default)]
struct Told {
    early: Vec<String>,
    log: Option<TrainLog>,
    /// Of processes that train together the first one speaks for all.
    silent: bool,
}

impl Told {
    fn say(&mut self, line: &str) {
        if !self.silent {
            errln!("{}", shown(line));
            self.note(&shown(line));
        }
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
pub(super) fn run<V: Trains>(verb: &V) -> Result<()> {
    let arguments = verb.run();
    let world = World::join(Duration::from_secs(arguments.watchdog))?;
    let mut told = Told { silent: world.rank() > 0, ..Told::default() };
    let result = train(verb, &mut told, &world).map_err(|error| match error {
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
    ranks::ended(&world, result)
}

fn train<V: Trains>(verb: &V, told: &mut Told, world: &World) -> Result<()> {
    let arguments = verb.run();
    let stops = Stops {
        after: arguments.stop_after,
        at: arguments.time_limit.map(|limit| Instant::now() + limit),
        signal: Some(signals::install()?),
    };
    let out = &arguments.out;
    let Begun { mut config, mut start, folder } = begin(verb, told, world)?;
    let (images, remarks) = verb.images(&mut config)?;
    let source = images.source.clone();
    source.passed_over().lines().iter().chain(&remarks).for_each(|line| told.say(line));
    if let Start::Resumed(from) = &mut start {
        let remark = images::compare(&mut from.snapshot, &*source, arguments.allow_changed_data)?;
        remark.iter().for_each(|remark| told.say(remark));
    }
    data::enough_for(&*source, config.training.batch_size)?;
    config.training.settle_epochs(source.len())?;
    let batch_size = config.training.batch_size;
    config.finetune.iter_mut().for_each(|finetune| finetune.settle(source.len(), batch_size));
    if let Some(count) = arguments.micro_batches(config.training.batch_size)? {
        config.training.micro_batches = count;
    }
    let auto = arguments.micro_batch.as_deref() == Some("auto");
    if let Start::Resumed(from) = &start
        && (auto || arguments.micro_batch.is_none() && config.training.micro_batches == 1)
    {
        // What was chosen at the start, by whatever number of processes: other parts would round differently.
        config.training.micro_batches = from.snapshot.config.training.micro_batches;
    }
    if world.size() > 1 && auto {
        return Err(Error::Config("--micro-batch auto is for a single process; give the images of one pass".into()));
    }
    if let Some(remark) = ranks::deal_out(world, &mut config, &mut start)? {
        told.say(&remark);
    }
    if let Start::Resumed(from) = &start {
        check_resumable(&from.snapshot, &from.path, &config).map_err(|error| longer(error, from, &config, out))?;
        let began_with = &from.snapshot.config.data.source;
        if *began_with != config.data.source {
            told.say(&format!("images now come from {} (the run began with {began_with})", config.data.source));
        }
    }
    if arguments.dry_run {
        if world.rank() == 0 {
            terminal::out(format_args!("{}", shown_lines(&dry_run::describe(&config, source.len(), out)?)));
        }
        return Ok(());
    }
    ranks::compare(world, &config, &*source)?;
    let device = arguments.adapter.open_for(world, arguments.share_adapter)?;
    if let Some(line) = arguments.adapter.remark(&device) {
        told.say(&line);
    }
    let resumed = matches!(start, Start::Resumed(_));
    let memory = Memory { most_mib: arguments.gpu_memory_mib, auto, out };
    if let Some(line) = settle_memory(&memory, &device, &mut config, resumed || world.size() > 1)? {
        told.say(&line);
    }
    let (steps, batch) = (config.training.steps, config.training.batch_size);
    let name = device.adapter().to_string();
    if world.rank() > 0 {
        let (tuning, start) = (ranks::told_tuning(world, &device)?, verb.fitted(start, &config)?);
        let follower = Follower::new(config, images, device, tuning, start, Team::of(world.clone()));
        return match pollster::block_on(async { follower.await?.train(&stops).await })? {
            Ended::Signal => Err(Error::Stopped(format!("process {} stopped with the others", world.rank()))),
            _ => Ok(()),
        };
    }
    let folder = match folder {
        Some(folder) => folder,
        None => RunFolder::enter(out, if arguments.overwrite { Entry::Overwrite } else { Entry::New })?,
    };
    told.open(&folder)?;
    told.note(&format!("bootmae {} on {name}", env!("CARGO_PKG_VERSION")));
    told.say(&format!("{} images, {steps} steps of {batch} images", source.len()));
    let kept = match &start {
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
            let work = work(&device, &*config.planned_task(), micro_batch, precision);
            arguments.tuning.settle(&device, work, precision, false)?
        }
    };
    ranks::tell_tuning(world, &device, &tuning)?;
    let start = verb.fitted(start, &config)?;
    let team = Team::of(world.clone());
    let mut run = pollster::block_on(Run::new(config, folder, images, device, tuning, start, team))?;
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
        Event::Evaluated(step, found) => {
            let found: Vec<_> = found.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
            let line = format!("step {step}: {}", found.join(", "));
            progress.println(&line);
            told.note(&line);
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

/// Reads settings and, where the run goes on, its state. A resumed run takes its settings from the checkpoint; flags that
/// disagree are refused later. Writes nothing where the run is new.
fn begin<V: Trains>(verb: &V, told: &mut Told, world: &World) -> Result<Begun> {
    if world.rank() > 0 {
        return follow(verb, world);
    }
    let begun = lead(verb, told)?;
    let from = match &begun.start {
        Start::Resumed(from) => Some(from.path.as_path()),
        _ => None,
    };
    ranks::tell(world, &from)?;
    Ok(begun)
}

/// The same for a process that has no folder: it goes on from the checkpoint that the first one found.
fn follow<V: Trains>(verb: &V, world: &World) -> Result<Begun> {
    if let Some(path) = ranks::told::<Option<PathBuf>>(world)? {
        let snapshot = read_any(&path)?;
        let config = verb.resumed(of_verb::<V>(&snapshot.config, &path)?)?;
        let start = Start::Resumed(Box::new(Resumed { snapshot, path, remarks: Vec::new() }));
        return Ok(Begun { config, start, folder: None });
    }
    let config = verb.settings()?;
    let start = verb.start(&config)?;
    Ok(Begun { config, start, folder: None })
}

fn lead<V: Trains>(verb: &V, told: &mut Told) -> Result<Begun> {
    let arguments = verb.run();
    let mut folder = None;
    if let Some(from) = &arguments.resume {
        let from = (from != "auto").then(|| PathBuf::from(from));
        if arguments.dry_run {
            // Nothing is locked or written.
            let held = read_any(from.as_deref().unwrap_or(&arguments.out))?;
            let config = verb.resumed(of_verb::<V>(&held.config, &arguments.out)?)?;
            return Ok(Begun { config, start: Start::Seed, folder: None });
        }
        // From elsewhere a run goes on in a folder of its own.
        let elsewhere = from.as_ref().is_some_and(|path| !inside(path, &arguments.out));
        let entered = RunFolder::enter(&arguments.out, if elsewhere { Entry::New } else { Entry::Resume })?;
        if let Some(resumed) = entered.resume(from.as_deref())? {
            resumed.remarks.iter().for_each(|remark| told.say(remark));
            told.say(&format!("continuing after step {}: {}", resumed.snapshot.step, resumed.path.display()));
            let config = verb.resumed(of_verb::<V>(&resumed.snapshot.config, &resumed.path)?)?;
            return Ok(Begun { config, start: Start::Resumed(Box::new(resumed)), folder: Some(entered) });
        }
        told.say(&format!("no checkpoint in {} yet: starting from the beginning", arguments.out.display()));
        folder = Some(entered);
    }
    let config = verb.settings()?;
    if config.data.source.is_empty() {
        return Err(Error::Config("no images: give --data DIR, or data.source in the configuration".into()));
    }
    let start = verb.start(&config)?;
    Ok(Begun { config, start, folder })
}

/// Refuses to go on with a run of another verb.
fn of_verb<'c, V: Trains>(held: &'c RunConfig, path: &Path) -> Result<&'c RunConfig> {
    let made_by = if held.finetune.is_some() { "finetune" } else { "pretrain" };
    if made_by != V::NAME {
        return Err(Error::checkpoint(path, format!("a run of `bootmae {made_by}`; continue it with that")));
    }
    Ok(held)
}

impl RunArguments {
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

    /// The flags as a configuration, with the images' source.
    pub(super) fn flags(&self, source: Option<&str>) -> toml::Table {
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
        set("save_every_steps", self.save_every.map(|n| (n as i64).into()));
        set("keep_checkpoints", self.keep.map(|n| (n as i64).into()));
        let source = source.iter().map(|source| ("source".to_string(), (*source).into()));
        let max_bad = self.max_bad.iter().map(|&share| ("max_bad_fraction".to_string(), share.into()));
        toml::Table::from_iter([
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
