//! A pretraining run from start or checkpoint to its last step, in a folder of its own.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::{
    MicroBatch, StateCopy, StepResult, Trainer, TrainerOptions,
    checkpoint::Model,
    config::RunConfig,
    events::Events,
    metrics::{self, Metrics, MetricsLog},
    run_folder::{Resumed, RunFolder},
    samples::Sampler,
    saver::{Saved, Saver},
    schedule,
    snapshot::{NamedTensor, Snapshot},
    stop::{Ended, Stops},
};
use crate::{
    data::{Batch, Loader, LoaderOptions, Source},
    device::Device,
    error::{Error, Result},
    model::masking,
    ops::{Settings, Tuning},
    rng::{Rng, Stream},
};

/// Batches decoded ahead of the GPU.
const PREFETCH: usize = 2;

/// Steps over which the rate of images is averaged.
const RATE_WINDOW: usize = 10;

/// How often a run goes back to one good state before it gives up.
const RECOVERIES: u32 = 3;

/// The kernel variants that `snapshot` was computed with, if a device with this adapter can go on with them: only so
/// does the run end with the bits of an uninterrupted one. States from before there was a choice mean the built-in table.
pub fn kept_tuning(
    snapshot: &Snapshot,
    adapter: &str,
    built_in: Tuning,
    runs: impl FnOnce(&Tuning) -> bool,
) -> Option<Tuning> {
    if snapshot.adapter != adapter {
        return None;
    }
    let Some(text) = &snapshot.tuning else { return Some(built_in) };
    serde_json::from_str(text).ok().filter(runs)
}

/// A run about to start or to go on.
pub struct Run {
    config: RunConfig,
    source: Arc<dyn Source>,
    trainer: Trainer,
    loader: Loader,
    log: MetricsLog,
    events: Events,
    saver: Saver,
    /// None where no samples are drawn.
    sampler: Option<Sampler>,
    step: u64,
    /// The step of the newest snapshot that the saver was given, or of the one that the run goes on from.
    saved: u64,
    /// The newest state that the run can go back to.
    good: Arc<Snapshot>,
    /// How often the run went back to it.
    recoveries: u32,
    /// Images that are left out since an update with them was refused.
    left_out: BTreeSet<usize>,
    /// The images of each step in flight, the oldest first.
    in_flight: VecDeque<Vec<usize>>,
    /// Last, so that the lock outlives everything that writes.
    folder: RunFolder,
}

/// What a run begins with.
#[derive(Debug)]
pub enum Start {
    /// Weights drawn from the seed.
    Seed,
    /// Another run's weights.
    Weights(Box<Model>),
    /// Everything, as it was at a step.
    Resumed(Box<Resumed>),
}

/// What a caller hears of while a run goes on.
pub enum Event<'a> {
    /// A step's results arrived.
    Step(&'a Metrics),
    /// An image could not be read and another takes its place.
    BadImage(&'a str),
    /// A checkpoint is on the disk.
    Saved(&'a Saved),
    /// Something went wrong, and the run goes on from an earlier step: what happened, and the step.
    Recovered(&'a str, u64),
}

impl Run {
    /// Prepares a run: the model on its device, its weights, the loader at the first image that is due.
    pub async fn new(
        config: RunConfig,
        folder: RunFolder,
        source: Arc<dyn Source>,
        device: Device,
        tuning: Tuning,
        start: Start,
    ) -> Result<Run> {
        let (model, training) = (&config.model, &config.training);
        let options = TrainerOptions {
            micro_batch: training.micro_batch_size(),
            micro_batches: training.micro_batches,
            tuning,
            inspect: false,
            no_fusion: false,
        };
        let trainer = Trainer::new(device, model, options).await?;
        trainer.initialise(training.seed);
        let step = match &start {
            Start::Seed => 0,
            Start::Weights(model) => {
                let path = training.init_from.clone().unwrap_or_default();
                trainer.start_from(&model.tensors).map_err(|reason| Error::checkpoint(path, reason))?;
                0
            }
            Start::Resumed(from) => {
                trainer.restore(&from.snapshot.groups).map_err(|reason| Error::checkpoint(&from.path, reason))?;
                from.snapshot.step
            }
        };
        let left_out: BTreeSet<usize> = match &start {
            Start::Resumed(from) => from.snapshot.left_out.iter().copied().collect(),
            _ => BTreeSet::new(),
        };
        let sampler = (training.sample_every_steps > 0).then(|| Sampler::new(folder.path(), &*source, model));
        let sampler = sampler.transpose()?;
        let loader = Loader::new(source.clone(), loader_options(&config, &left_out), step)?;
        folder.write_config(&config)?;
        let log = MetricsLog::open(&folder.path().join(metrics::FILE_NAME), step)?;
        let events = Events::open(folder.path(), step)?;
        let saver = Saver::new(folder.path(), training.keep_checkpoints);
        let good = match start {
            Start::Resumed(from) => Arc::new(from.snapshot),
            _ => {
                let groups = trainer.take_state(trainer.copy_state()).await?;
                Arc::new(snapshot_of(&trainer, &config, 0, &left_out, groups))
            }
        };
        Ok(Run {
            config,
            source,
            trainer,
            loader,
            log,
            events,
            saver,
            sampler,
            step,
            saved: step,
            good,
            recoveries: 0,
            left_out,
            in_flight: VecDeque::new(),
            folder,
        })
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The trainer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Trains to the last step, or until one of `stops` is due, and saves. Where the device is lost or an update refused,
    /// the run goes back to its last good state, at most [`RECOVERIES`] times to each.
    pub async fn train(&mut self, stops: &Stops, mut on: impl FnMut(Event<'_>)) -> Result<Ended> {
        loop {
            match self.advance(stops, &mut on).await {
                Ok(ended) => return Ok(ended),
                Err(error) => self.recover(error, &mut on).await?,
            }
        }
    }

    /// Trains until the end or the first fault. The next step is submitted before the results of the one before are
    /// read, so that the GPU never waits for them. Where a checkpoint is due, a copy of the state is submitted behind its
    /// step; later steps follow at once, and a thread writes the copy meanwhile.
    async fn advance(&mut self, stops: &Stops, on: &mut impl FnMut(Event<'_>)) -> Result<Ended> {
        let training = self.config.training.clone();
        let mut last = stops.after.unwrap_or(training.steps).min(training.steps);
        let mut ended = if last < training.steps { Ended::StoppedAfter } else { Ended::Finished };
        let mut pace = Pace::new();
        let mut submitted = self.step;
        let mut copy: Option<(u64, StateCopy)> = None;
        let mut samples = VecDeque::new();
        while self.step < last {
            if let Some(reason) = stops.due().filter(|_| submitted < last) {
                (last, ended) = (submitted, reason);
                if submitted == self.step {
                    break;
                }
            }
            let due = |step: u64| step == last || step.is_multiple_of(training.save_every_steps);
            // One copy at a time: with its checkpoint still to come, the next one waits.
            while submitted < last && self.trainer.in_flight() < 2 && !(copy.is_some() && due(submitted + 1)) {
                let asked = Instant::now();
                let batch = self.loader.next()?;
                pace.waits.push_back(asked.elapsed().as_secs_f64());
                batch.bad.iter().for_each(|name| on(Event::BadImage(name)));
                self.submit(submitted, &batch);
                self.in_flight.push_back(batch.shown);
                submitted += 1;
                if due(submitted) {
                    copy = Some((submitted, self.trainer.copy_state()));
                }
                if let Some(sampler) = &mut self.sampler
                    && submitted.is_multiple_of(training.sample_every_steps)
                {
                    samples.push_back((submitted, sampler.begin(&self.trainer).await?));
                }
            }
            let result = self.trainer.take().await?;
            self.check_update(&result)?;
            self.in_flight.pop_front();
            let mut metrics = self.measured(self.step, &result);
            pace.arrive(&mut metrics, training.batch_size);
            self.step += 1;
            let snapshot = match copy.take_if(|(step, _)| *step == self.step) {
                Some((_, copy)) => Some(self.snapshot(copy).await?),
                None => None,
            };
            metrics.teacher_drift = snapshot.as_ref().and_then(Snapshot::teacher_drift);
            self.log.write(&metrics)?;
            self.events.scalars(&metrics)?;
            on(Event::Step(&metrics));
            let before = match snapshot {
                Some(snapshot) => self.save(snapshot)?,
                None => self.saver.poll()?,
            };
            before.iter().for_each(|saved| on(Event::Saved(saved)));
            if let (Some(sampler), Some((step, predicted))) =
                (&self.sampler, samples.pop_front_if(|(step, _)| *step == self.step))
            {
                let sample = sampler.finish(&self.trainer, predicted, step).await?;
                self.events.picture(step, sample.pixels, &sample.png)?;
            }
        }
        self.saver.finish()?.iter().for_each(|saved| on(Event::Saved(saved)));
        if self.saved < self.step {
            let snapshot = self.snapshot(self.trainer.copy_state()).await?;
            self.save(snapshot)?;
            self.saver.finish()?.iter().for_each(|saved| on(Event::Saved(saved)));
        }
        Ok(ended)
    }

    /// The state that a copy holds, of the steps taken so far.
    async fn snapshot(&self, copy: StateCopy) -> Result<Snapshot> {
        let groups = self.trainer.take_state(copy).await?;
        Ok(snapshot_of(&self.trainer, &self.config, self.step, &self.left_out, groups))
    }

    /// Hands a snapshot to the saver, and keeps it to go back to; returns the save that had to end first.
    fn save(&mut self, snapshot: Snapshot) -> Result<Option<Saved>> {
        (self.good, self.recoveries) = (Arc::new(snapshot), 0);
        self.saved = self.good.step;
        self.saver.start(self.good.clone(), self.log.handle()?)
    }

    /// Fails when the oldest step in flight made no update, or has no finite loss.
    fn check_update(&self, result: &StepResult) -> Result<()> {
        let reason = match (result.not_finite, result.loss.is_finite(), self.config.training.gradient_norm_limit) {
            (0, true, _) if !result.refused => return Ok(()),
            (0, true, Some(limit)) => format!("a gradient of norm {:.3}, above {limit}", result.gradient_norm),
            (count, _, _) => format!("loss {} and {count} gradient values that are not finite", result.loss),
        };
        Err(Error::Diverged(format!("step {} has {reason}", self.step + 1)))
    }

    /// Goes back to the last good state after `error`: on the device opened again if it was lost, without the images of
    /// the step whose update was refused. Gives the error back where that does not help.
    async fn recover(&mut self, error: Error, on: &mut impl FnMut(Event<'_>)) -> Result<()> {
        let (lost, refused) = (self.trainer.device().is_lost(), matches!(error, Error::Diverged(_)));
        if !lost && !refused {
            return Err(error);
        }
        if self.recoveries == RECOVERIES {
            return Err(self.give_up(error));
        }
        self.recoveries += 1;
        let mut told = format!("{error}; back to step {}", self.good.step);
        if lost {
            let device = match self.trainer.device().reopen().await {
                Ok(device) => device,
                Err(again) => return Err(self.give_up(Error::Gpu(format!("{error}; opening it again: {again}")))),
            };
            let (config, options) = (self.trainer.config().clone(), self.trainer.options().clone());
            self.trainer = Trainer::new(device, &config, options).await?;
            self.sampler.iter_mut().for_each(Sampler::forget_device);
            told.push_str(" on the device opened again");
        } else {
            let images: BTreeSet<usize> = self.in_flight.pop_front().into_iter().flatten().collect();
            let names: Vec<_> = images.iter().map(|index| self.source.name(*index)).collect();
            told = format!("{told}, from now on without the images of this step: {}", names.join(", "));
            self.left_out.extend(images);
            while self.trainer.in_flight() > 0 {
                self.trainer.take().await?;
            }
        }
        self.in_flight.clear();
        let restored = self.trainer.restore(&self.good.groups);
        restored.map_err(|reason| Error::checkpoint(self.folder.path(), reason))?;
        self.step = self.good.step;
        let options = loader_options(&self.config, &self.left_out);
        self.loader = Loader::new(self.source.clone(), options, self.step)?;
        self.log = MetricsLog::open(&self.folder.path().join(metrics::FILE_NAME), self.step)?;
        self.events = Events::open(self.folder.path(), self.step)?;
        on(Event::Recovered(&told, self.step));
        Ok(())
    }

    /// Makes sure that the last good state is on the disk, and says where the run can go on from.
    fn give_up(&mut self, error: Error) -> Error {
        let checkpoints = self.folder.checkpoints();
        let saved = match self.saver.finish() {
            Ok(_) if checkpoints.path(self.good.step).exists() => Ok(()),
            Ok(_) => checkpoints.save(&self.good, self.config.training.keep_checkpoints).map(drop),
            Err(unsaved) => Err(unsaved),
        };
        let state = match saved {
            Ok(()) => format!("the state of step {} is saved", self.good.step),
            Err(unsaved) => format!("the state of step {} could not be saved ({unsaved})", self.good.step),
        };
        let tried = format!("after going back {} times; {state}", self.recoveries);
        match error {
            Error::Diverged(reason) => Error::Diverged(format!(
                "{reason} {tried}. Lower training.peak_learning_rate or look at the images named, and start again"
            )),
            other => Error::Gpu(format!("{other} {tried}. Continue with --resume")),
        }
    }

    fn submit(&mut self, step: u64, batch: &Batch) {
        let (model, training) = (&self.config.model, &self.config.training);
        let roll = masking::roll(training.seed, step);
        let order = batch.samples.iter().flat_map(|(epoch, sample)| {
            let mut rng = Rng::new(training.seed, Stream::Mask, *epoch, *sample as u64);
            masking::patch_order(model, &mut rng, roll)
        });
        let order: Vec<u32> = order.collect();
        let weights: Vec<f32> =
            order.chunks(model.patches()).flat_map(|row| masking::loss_weights(model, row)).collect();
        let count = training.micro_batches;
        let part = |len: usize, index: usize| len / count * index..len / count * (index + 1);
        let batches: Vec<_> = (0..count)
            .map(|index| MicroBatch {
                images: &batch.images[part(batch.images.len(), index)],
                order: &order[part(order.len(), index)],
                loss_weights: &weights[part(weights.len(), index)],
            })
            .collect();
        let settings = Settings::new(
            step + 1,
            schedule::learning_rate(step, training),
            training.weight_decay,
            (training.beta1, training.beta2),
            training.adam_eps,
            schedule::ema_decay(step, training),
        );
        let settings = match training.gradient_norm_limit {
            Some(limit) => settings.with_norm_limit(limit),
            None => settings,
        };
        self.trainer.step(&batches, schedule::feature_weight(step, training) as f32, settings);
    }

    fn measured(&self, step: u64, result: &StepResult) -> Metrics {
        let training = &self.config.training;
        let branch = self.config.model.feature_branch;
        Metrics {
            step: step + 1,
            loss: result.loss,
            loss_pixel: result.loss_pixel,
            loss_feature: result.loss_feature,
            feature_weight: if branch { schedule::feature_weight(step, training) } else { 0.0 },
            learning_rate: schedule::learning_rate(step, training),
            ema_decay: schedule::ema_decay(step, training),
            gradient_norm: result.gradient_norm,
            teacher_spread: branch.then_some(result.teacher_spread),
            gpu_bytes: self.trainer.gpu_bytes(),
            resident_bytes: resident_bytes(),
            ..Metrics::default()
        }
    }
}

fn loader_options(config: &RunConfig, left_out: &BTreeSet<usize>) -> LoaderOptions {
    let (model, training) = (&config.model, &config.training);
    LoaderOptions {
        batch_size: training.batch_size,
        height: model.image_height,
        width: model.image_width,
        channels: model.channels,
        seed: training.seed,
        threads: config.data.loader_threads,
        prefetch: PREFETCH,
        max_bad_fraction: config.data.max_bad_fraction,
        left_out: left_out.clone(),
    }
}

fn snapshot_of(
    trainer: &Trainer,
    config: &RunConfig,
    step: u64,
    left_out: &BTreeSet<usize>,
    groups: BTreeMap<String, Vec<NamedTensor>>,
) -> Snapshot {
    Snapshot {
        step,
        config: config.clone(),
        adapter: trainer.device().adapter().name.clone(),
        tuning: Some(serde_json::to_string(trainer.tuning()).expect("texts are JSON")),
        left_out: left_out.iter().copied().collect(),
        groups,
    }
}

/// When results arrived, and what the steps waited for.
struct Pace {
    began: Instant,
    arrivals: VecDeque<Instant>,
    waits: VecDeque<f64>,
}

impl Pace {
    fn new() -> Pace {
        let began = Instant::now();
        Pace { began, arrivals: VecDeque::from([began]), waits: VecDeque::new() }
    }

    /// Notes the arrival of the oldest step in flight and fills in what follows from it.
    fn arrive(&mut self, metrics: &mut Metrics, batch: usize) {
        let now = Instant::now();
        let step = now.duration_since(*self.arrivals.back().expect("at least the start")).as_secs_f64();
        self.arrivals.push_back(now);
        if self.arrivals.len() > RATE_WINDOW + 1 {
            self.arrivals.pop_front();
        }
        let seconds = now.duration_since(self.arrivals[0]).as_secs_f64();
        metrics.images_per_s = (batch * (self.arrivals.len() - 1)) as f64 / seconds;
        metrics.data_wait_s = self.waits.pop_front().unwrap_or_default();
        metrics.data_wait_share = (metrics.data_wait_s / step).min(1.0);
        metrics.elapsed_s = now.duration_since(self.began).as_secs_f64();
    }
}

/// Main memory that this process holds, where the system tells.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ops::{NormRows, Rows, Tile},
        train::snapshot,
    };

    #[test]
    fn a_resumed_run_keeps_its_tuning_on_its_own_adapter_alone() {
        let own = Tuning::uniform(Tile::Plain, Rows::Workgroup(8), NormRows::Invocation);
        let built_in = Tuning::default();
        let tuning = Some(serde_json::to_string(&own).unwrap());
        let mut snapshot = Snapshot { adapter: "a".into(), tuning, ..snapshot::sample(1) };
        assert_eq!(kept_tuning(&snapshot, "a", built_in, |_| true), Some(own));
        assert_eq!(kept_tuning(&snapshot, "b", built_in, |_| true), None);
        assert_eq!(kept_tuning(&snapshot, "a", built_in, |tuning| *tuning != own), None, "no longer offered");
        snapshot.tuning = Some("damaged".into());
        assert_eq!(kept_tuning(&snapshot, "a", built_in, |_| true), None);
        snapshot.tuning = None;
        assert_eq!(kept_tuning(&snapshot, "a", built_in, |_| true), Some(built_in));
    }
}
