//! A pretraining run from start or checkpoint to its last step, in a folder of its own.

use std::{collections::VecDeque, sync::Arc, time::Instant};

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
    snapshot::Snapshot,
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

/// A run about to start or to go on.
pub struct Run {
    config: RunConfig,
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
    /// Last, so that the lock outlives everything that writes.
    _folder: RunFolder,
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
}

impl Run {
    /// Prepares a run: the model on its device, its weights, the loader at the first image that is due.
    pub async fn new(
        config: RunConfig,
        folder: RunFolder,
        source: Arc<dyn Source>,
        device: Device,
        start: Start,
    ) -> Result<Run> {
        let (model, training) = (&config.model, &config.training);
        let options = TrainerOptions {
            micro_batch: training.micro_batch_size(),
            micro_batches: training.micro_batches,
            tuning: Tuning::for_device(&device),
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
        let options = LoaderOptions {
            batch_size: training.batch_size,
            height: model.image_height,
            width: model.image_width,
            channels: model.channels,
            seed: training.seed,
            threads: config.data.loader_threads,
            prefetch: PREFETCH,
            max_bad_fraction: config.data.max_bad_fraction,
        };
        let sampler = (training.sample_every_steps > 0).then(|| Sampler::new(folder.path(), &*source, model));
        let sampler = sampler.transpose()?;
        let loader = Loader::new(source, options, step)?;
        folder.write_config(&config)?;
        let log = MetricsLog::open(&folder.path().join(metrics::FILE_NAME), step)?;
        let events = Events::open(folder.path(), step)?;
        let saver = Saver::new(folder.path(), training.keep_checkpoints);
        Ok(Run { config, trainer, loader, log, events, saver, sampler, step, saved: step, _folder: folder })
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The trainer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Trains to the last step, or until one of `stops` is due, and saves. The next step is submitted before
    /// the results of the one before are read, so that the GPU never waits for them. Where a checkpoint is due, a copy of
    /// the state is submitted behind its step; later steps follow at once, and a thread writes the copy meanwhile.
    pub async fn train(&mut self, stops: &Stops, mut on: impl FnMut(Event<'_>)) -> Result<Ended> {
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
            self.check_finite(&result)?;
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
        Ok(Snapshot {
            step: self.step,
            config: self.config.clone(),
            adapter: self.trainer.device().adapter().name.clone(),
            groups: self.trainer.take_state(copy).await?,
        })
    }

    /// Hands a snapshot to the saver; returns the save that had to end first.
    fn save(&mut self, snapshot: Snapshot) -> Result<Option<Saved>> {
        self.saved = snapshot.step;
        self.saver.start(Arc::new(snapshot), self.log.handle()?)
    }

    fn check_finite(&self, result: &StepResult) -> Result<()> {
        if result.not_finite == 0 && result.loss.is_finite() {
            return Ok(());
        }
        let kept = if result.not_finite > 0 { "; no update was made" } else { "" };
        Err(Error::Diverged(format!(
            "step {} has loss {} and {} gradient values that are not finite{kept}. The last checkpoint holds step {}; \
             lower training.peak_learning_rate and start again",
            self.step + 1,
            result.loss,
            result.not_finite,
            self.saved
        )))
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
