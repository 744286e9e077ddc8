//! What the verbs that train have in common: how a run begins, goes on and ends.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    dry_run,
    longer::longer,
    memory::{Memory, settle_memory},
    progress::Progress,
    ranks,
    run_arguments::RunArguments,
    signals,
    terminal::{self, errln},
};
use crate::{
    checkpoint::read_any,
    data,
    dist::World,
    error::{Error, Result},
    kernels::Tuning,
    report::log::TrainLog,
    run::{
        follower::Follower,
        pretrain::{Event, Images, Run, Start},
        run_folder::{Entry, Resumed, RunFolder, check_resumable},
        stop::{Ended, Stops},
    },
    text::{shown, shown_lines},
    train::{config::RunConfig, images, team::Team, work},
};

/// The file in a run's folder that ends the run as a signal does.
const STOP: &str = "STOP";

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
        // Of several processes the first one looks.
        file: (world.rank() == 0).then(|| arguments.out.join(STOP)),
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
    let memory = Memory { most_mib: arguments.gpu_memory_mib, auto, ranks: world.size(), out };
    if let Some(line) = settle_memory(&memory, &device, &mut config, resumed || world.size() > 1)? {
        told.say(&line);
    }
    let (steps, batch) = (config.training.steps, config.training.batch_size);
    let name = device.adapter().to_string();
    if world.rank() > 0 {
        let (tuning, start) = (ranks::told_tuning(world, &device)?, verb.fitted(start, &config)?);
        let follower = Follower::new(config, images, device, tuning, start, Team::of(world.clone()));
        return match pollster::block_on(async { follower.await?.train(&stops).await })? {
            Ended::Signal | Ended::File => {
                Err(Error::Stopped(format!("process {} stopped with the others", world.rank())))
            }
            _ => Ok(()),
        };
    }
    let folder = match folder {
        Some(folder) => folder,
        None => RunFolder::enter(out, if arguments.overwrite { Entry::Overwrite } else { Entry::New })?,
    };
    told.open(&folder)?;
    if let Start::Resumed(from) = &start {
        // Only now that nothing refuses it any more.
        folder.set_aside_after(from.snapshot.step)?.iter().for_each(|remark| told.say(remark));
    }
    told.note(&format!("bootmae {} on {name}", env!("CARGO_PKG_VERSION")));
    told.say(&format!("{} images, {steps} steps of {batch} images", source.len()));
    let kept = match &start {
        Start::Resumed(from) => {
            let runs = |tuning: &Tuning| tuning.runs_on(&device, config.training.precision);
            let kept = from.snapshot.kept_tuning(&device.adapter().name, &Tuning::for_device(&device), runs);
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
        Event::Slow(what) => {
            progress.println(what);
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
        Ended::File => {
            forget_stop(out)?;
            return Err(Error::Stopped(format!("stopped by the file {STOP} after {reached}; {on}")));
        }
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
        // Left by an end that came before it was seen.
        forget_stop(&arguments.out)?;
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

/// Removes the file that asked a run to end.
fn forget_stop(folder: &Path) -> Result<()> {
    let file = folder.join(STOP);
    if file.is_file() { fs::remove_file(&file).map_err(Error::io(file)) } else { Ok(()) }
}

/// Refuses to go on with a run of another verb.
fn of_verb<'c, V: Trains>(held: &'c RunConfig, path: &Path) -> Result<&'c RunConfig> {
    let made_by = if held.finetune.is_some() { "finetune" } else { "pretrain" };
    if made_by != V::NAME {
        return Err(Error::checkpoint(path, format!("a run of `bootmae {made_by}`; continue it with that")));
    }
    Ok(held)
}

/// Whether `path` is `folder` or in it.
fn inside(path: &Path, folder: &Path) -> bool {
    match (path.canonicalize(), folder.canonicalize()) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}
