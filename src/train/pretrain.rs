//! A pretraining run from start or checkpoint to its last step, in a folder of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{
    MicroBatch, StepResult, Trainer, TrainerOptions, WEIGHTS,
    checkpoint::{self, Checkpoint, MODEL, MOMENT1, MOMENT2, TEACHER, write_atomically},
    config::{RunConfig, differences},
    metrics::{self, Metrics, MetricsLog},
    schedule,
};
use crate::{
    data::{Batch, Loader, LoaderOptions, Source},
    device::Device,
    error::{Error, Result},
    model::masking,
    ops::{Settings, Tuning},
    rng::{Rng, Stream},
};

/// The resolved configuration's name inside a run folder.
pub const CONFIG_FILE: &str = "config.toml";

/// Batches decoded ahead of the GPU.
const PREFETCH: usize = 2;

/// Steps over which the rate of images is averaged.
const RATE_WINDOW: usize = 10;

/// A run folder: where a run writes, and nowhere else.
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Creates the folder and makes sure that it can be written to, before any training.
    pub fn create(path: &Path) -> Result<RunFolder> {
        fs::create_dir_all(path).map_err(Error::io(path))?;
        let probe = path.join(".writable");
        fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)).map_err(Error::io(path))?;
        Ok(RunFolder { path: path.into() })
    }

    /// The checkpoint's path.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(checkpoint::FILE_NAME)
    }

    /// Refuses to resume `checkpoint` with a configuration that differs in anything but where images are and how the run
    /// is saved.
    pub fn check_resumable(&self, checkpoint: &Checkpoint, config: &RunConfig) -> Result<()> {
        let mut comparable = config.clone();
        comparable.data = checkpoint.config.data.clone();
        comparable.training.save_every_steps = checkpoint.config.training.save_every_steps;
        let differing = differences(&checkpoint.config, &comparable);
        if differing.is_empty() {
            return Ok(());
        }
        let reason = format!("belongs to a run with other settings: {}", differing.join("; "));
        Err(Error::checkpoint(self.checkpoint(), reason))
    }

    /// Refuses a folder that already holds a run.
    pub fn must_be_new(&self) -> Result<()> {
        let held = [self.checkpoint(), self.path.join(metrics::FILE_NAME)].into_iter().find(|path| path.exists());
        match held {
            Some(path) => Err(Error::Config(format!(
                "{} exists: the folder holds a run. Continue it with --resume or choose another --out",
                path.display()
            ))),
            None => Ok(()),
        }
    }
}

/// The kernel variants that `checkpoint` was computed with, if a device with this adapter can go on with them: only so
/// does the run end with the bits of an uninterrupted one. Files from before there was a choice mean the built-in table.
pub fn kept_tuning(
    checkpoint: &Checkpoint,
    adapter: &str,
    built_in: Tuning,
    runs: impl FnOnce(&Tuning) -> bool,
) -> Option<Tuning> {
    if checkpoint.adapter != adapter {
        return None;
    }
    let Some(text) = &checkpoint.tuning else { return Some(built_in) };
    serde_json::from_str(text).ok().filter(runs)
}

/// A run about to start or to go on.
pub struct Run {
    config: RunConfig,
    folder: RunFolder,
    trainer: Trainer,
    loader: Loader,
    log: MetricsLog,
    step: u64,
}

/// What a caller hears of while a run goes on.
pub enum Event<'a> {
    /// A step's results arrived.
    Step(&'a Metrics),
    /// An image could not be read and another takes its place.
    BadImage(&'a str),
    /// A checkpoint of this many steps was written.
    Saved(u64),
}

impl Run {
    /// Prepares a run: the model on its device, its weights from the seed or from `resumed`, the loader at the first
    /// image that is due.
    pub async fn new(
        config: RunConfig,
        folder: RunFolder,
        source: Arc<dyn Source>,
        device: Device,
        tuning: Tuning,
        resumed: Option<Checkpoint>,
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
        let step = resumed.as_ref().map_or(0, |c| c.step);
        if let Some(checkpoint) = &resumed {
            restore(&trainer, checkpoint, &folder.checkpoint())?;
        }
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
        let loader = Loader::new(source, options, step)?;
        let text = config.to_toml()?;
        write_atomically(&folder.path.join(CONFIG_FILE), |file| file.write_all(text.as_bytes()))?;
        let log = MetricsLog::open(&folder.path.join(metrics::FILE_NAME), step)?;
        Ok(Run { config, folder, trainer, loader, log, step })
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The trainer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Trains to the last step, or to `stop_after` steps where that is less, and saves. The next step is submitted before
    /// the results of the one before are read, so that the GPU never waits for them.
    pub async fn train(&mut self, stop_after: Option<u64>, mut on: impl FnMut(Event<'_>)) -> Result<()> {
        let training = self.config.training.clone();
        let last = stop_after.unwrap_or(training.steps).min(training.steps);
        let began = Instant::now();
        let mut submitted = self.step;
        let mut saved = self.step;
        let mut waits = std::collections::VecDeque::new();
        let mut arrivals = std::collections::VecDeque::from([began]);
        while self.step < last {
            // No step is in flight when a checkpoint is due.
            let limit = last.min(self.next_save(saved));
            while submitted < limit && self.trainer.in_flight() < 2 {
                let asked = Instant::now();
                let batch = self.loader.next()?;
                waits.push_back(asked.elapsed().as_secs_f64());
                batch.bad.iter().for_each(|name| on(Event::BadImage(name)));
                self.submit(submitted, &batch);
                submitted += 1;
            }
            let result = self.trainer.take().await?;
            if result.not_finite > 0 || !result.loss.is_finite() {
                let kept = if result.not_finite > 0 { "; no update was made" } else { "" };
                return Err(Error::Diverged(format!(
                    "step {} has loss {} and {} gradient values that are not finite{kept}. The last checkpoint holds step \
                     {saved}; lower training.peak_learning_rate and start again",
                    self.step + 1,
                    result.loss,
                    result.not_finite
                )));
            }
            arrivals.push_back(Instant::now());
            if arrivals.len() > RATE_WINDOW + 1 {
                arrivals.pop_front();
            }
            let seconds = arrivals[arrivals.len() - 1].duration_since(arrivals[0]).as_secs_f64();
            let mut metrics = self.measured(self.step, &result);
            metrics.images_per_s = (training.batch_size * (arrivals.len() - 1)) as f64 / seconds;
            metrics.data_wait_s = waits.pop_front().unwrap_or_default();
            metrics.elapsed_s = began.elapsed().as_secs_f64();
            self.log.write(&metrics)?;
            self.step += 1;
            on(Event::Step(&metrics));
            if self.step == limit {
                self.save().await?;
                saved = self.step;
                on(Event::Saved(saved));
            }
        }
        Ok(())
    }

    /// The step at which the next checkpoint is due.
    fn next_save(&self, saved: u64) -> u64 {
        let every = self.config.training.save_every_steps.max(1);
        (saved / every + 1) * every
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
            ..Metrics::default()
        }
    }

    /// Writes the checkpoint of the current step; no step may be in flight.
    async fn save(&self) -> Result<()> {
        assert_eq!(self.trainer.in_flight(), 0, "a checkpoint is of a settled step");
        let mut checkpoint = Checkpoint {
            step: self.step,
            config: self.config.clone(),
            adapter: self.trainer.device().adapter().name.clone(),
            tuning: Some(serde_json::to_string(self.trainer.tuning()).expect("texts are JSON")),
            groups: Default::default(),
        };
        for (group, arena) in groups(self.config.model.feature_branch) {
            checkpoint.groups.insert(group.into(), self.trainer.read(arena).await?);
        }
        checkpoint.save(&self.folder.checkpoint())
    }
}

/// The groups of a checkpoint and the arenas they mirror.
fn groups(teacher: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = [(MODEL, WEIGHTS), (MOMENT1, MOMENT1), (MOMENT2, MOMENT2), (TEACHER, TEACHER)];
    all.into_iter().take(if teacher { 4 } else { 3 })
}

/// Writes a checkpoint's tensors into the trainer's arenas.
fn restore(trainer: &Trainer, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
    for (group, arena) in groups(trainer.config().feature_branch) {
        let needed = trainer.layout().params.iter().map(|p| (p.name.as_str(), p.shape.as_slice()));
        checkpoint.check_matches(group, needed).map_err(|reason| Error::checkpoint(path, reason))?;
        for tensor in &checkpoint.groups[group] {
            trainer.write(arena, &tensor.name, &tensor.data);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{NormRows, Rows, Tile};

    #[test]
    fn a_resumed_run_keeps_its_tuning_on_its_own_adapter_alone() {
        let own = Tuning::uniform(Tile::Plain, Rows::Workgroup(8), NormRows::Invocation);
        let built_in = Tuning::default();
        let mut checkpoint = Checkpoint {
            step: 1,
            config: RunConfig::preset("nano").unwrap(),
            adapter: "a".into(),
            tuning: Some(serde_json::to_string(&own).unwrap()),
            groups: Default::default(),
        };
        let mut bytes = Vec::new();
        checkpoint.encode(&mut bytes).unwrap();
        let read = Checkpoint::decode(&bytes).unwrap();
        assert_eq!(kept_tuning(&read, "a", built_in, |_| true), Some(own));
        assert_eq!(kept_tuning(&read, "b", built_in, |_| true), None);
        assert_eq!(kept_tuning(&read, "a", built_in, |tuning| *tuning != own), None, "no longer offered");
        checkpoint.tuning = Some("damaged".into());
        assert_eq!(kept_tuning(&checkpoint, "a", built_in, |_| true), None);
        checkpoint.tuning = None;
        assert_eq!(kept_tuning(&checkpoint, "a", built_in, |_| true), Some(built_in));
    }
}
