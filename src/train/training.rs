//! A training run without the places where it is kept: the model on its device, its images, and the state to go back
//! to. Natively `run::pretrain::Run` gives it a folder; in a browser a page drives it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use web_time::Instant;

use super::{
    Slowest, StateCopy, StepResult, Trainer, TrainerOptions,
    config::RunConfig,
    metrics::Metrics,
    pace::Pace,
    schedule,
    snapshot::{NamedTensor, Snapshot},
    team::Team,
};
use crate::{
    data::{Batch, Collection, Loader, LoaderOptions, Share, Source, augment::Augmentation},
    device::Device,
    error::{Error, Result},
    kernels::Tuning,
    ops::Settings,
    tasks::{Inputs, MicroBatch, Task},
    text::shown,
};

/// Batches decoded ahead of the GPU.
const PREFETCH: usize = 2;

/// How often training goes back to one good state before it gives up.
const RECOVERIES: u32 = 3;

/// What training begins with; paths are for messages.
#[derive(Debug)]
pub enum Start {
    /// Weights drawn from the seed.
    Seed,
    /// Another run's weights.
    Weights(Vec<NamedTensor>, PathBuf),
    /// Everything, as it was at a step.
    State(Box<Snapshot>, PathBuf),
}

/// A step whose results arrived.
pub struct Step {
    /// What it measured.
    pub metrics: Metrics,
    /// The state after it, where a snapshot was due.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The images newly found unreadable, each with the reason.
    pub bad: Vec<String>,
    /// Of processes that train together, now and then, the one that took the longest for its parts.
    pub slowest: Option<Slowest>,
}

/// The images of a step in flight.
struct InFlight {
    /// Their numbers.
    shown: Vec<usize>,
    /// Those newly found unreadable, each with the reason.
    bad: Vec<String>,
}

/// A model in training. Steps are submitted ahead of their results: at most two are in flight.
pub struct Training {
    config: RunConfig,
    source: Arc<dyn Source>,
    trainer: Trainer,
    team: Team,
    loader: Loader,
    step: u64,
    submitted: u64,
    /// A copy of the state on its way, and after which step.
    copy: Option<(u64, StateCopy)>,
    /// The newest state that training can go back to.
    good: Arc<Snapshot>,
    /// How often it went back to it.
    recoveries: u32,
    /// Images that are left out since an update with them was refused.
    left_out: BTreeSet<usize>,
    /// What the images are.
    collection: Collection,
    /// The images of each step in flight, the oldest first.
    in_flight: VecDeque<InFlight>,
    pace: Pace,
}

/// Why training cannot go on.
pub struct GivenUp {
    /// What happened.
    pub error: Error,
    /// How often training went back to one state before; none where that could not have helped.
    pub tried: Option<u32>,
}

impl Training {
    /// Prepares training: the model on its device, its weights, the loader at the first image that is due. `task` is
    /// [`RunConfig::task`]'s.
    pub async fn new(
        config: RunConfig,
        task: Arc<dyn Task>,
        source: Arc<dyn Source>,
        device: Device,
        tuning: Tuning,
        start: Start,
        team: Team,
    ) -> Result<Training> {
        let training = &config.training;
        let options = TrainerOptions {
            recompute: training.recompute,
            precision: training.precision,
            ranks: team.size(),
            reduction: training.reduction,
            ..TrainerOptions::new(training.micro_batch_size(), team.passes(training)?, tuning)
        };
        team.travel_as(training.wire);
        let trainer = Trainer::new(device, task, options).await?;
        trainer.initialise(training.seed);
        let (mut left_out, mut state) = (BTreeSet::new(), None);
        let collection = Collection::of(&*source);
        match start {
            Start::Seed => {}
            Start::Weights(tensors, path) => {
                trainer.start_from(&tensors).map_err(|reason| Error::checkpoint(path, reason))?;
            }
            Start::State(snapshot, path) => {
                trainer.restore(&snapshot.groups).map_err(|reason| Error::checkpoint(path, reason))?;
                left_out.extend(&snapshot.left_out);
                state = Some(*snapshot);
            }
        }
        let step = state.as_ref().map_or(0, |snapshot| snapshot.step);
        let loader = Loader::new(source.clone(), loader_options(&config, &left_out, team.share()), step)?;
        let good = match state {
            Some(snapshot) => snapshot,
            None => {
                let groups = trainer.take_state(trainer.copy_state()).await?;
                snapshot_of(&trainer, &config, 0, &left_out, &collection, groups)
            }
        };
        Ok(Training {
            config,
            source,
            trainer,
            team,
            loader,
            step,
            submitted: step,
            copy: None,
            good: Arc::new(good),
            recoveries: 0,
            left_out,
            collection,
            in_flight: VecDeque::new(),
            pace: Pace::new(),
        })
    }

    /// The run's settings.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The images.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// The trainer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The processes that train together.
    pub fn team(&mut self) -> &mut Team {
        &mut self.team
    }

    /// Steps submitted, those in flight among them.
    pub fn submitted(&self) -> u64 {
        self.submitted
    }

    /// The newest state that training can go back to.
    pub fn good(&self) -> &Arc<Snapshot> {
        &self.good
    }

    /// Whether another step up to `last` may be submitted before a result is taken.
    pub fn may_submit(&self, last: u64) -> bool {
        // One copy at a time: with its snapshot still to come, the next one waits.
        let waits = self.copy.is_some() && self.due(self.submitted + 1, last);
        // Processes that train together do the same in the same order, and wait for each other's gradients anyway.
        let most = if self.team.is_alone() { 2 } else { 1 };
        self.submitted < last && self.trainer.in_flight() < most && !waits
    }

    fn due(&self, step: u64, last: u64) -> bool {
        step == last || step.is_multiple_of(self.config.training.save_every_steps)
    }

    /// Waits for the next images and submits the step that they are for; where a snapshot is due after it, also a copy
    /// of the state. `last` is the last step of all. Of processes that train together, each waits here for the gradients of
    /// all.
    pub async fn submit(&mut self, last: u64) -> Result<()> {
        let asked = Instant::now();
        let mut batch = self.loader.next()?;
        let waited = asked.elapsed().as_secs_f64();
        self.pace.wait(waited);
        self.team.begins(asked, waited);
        self.submit_batch(self.submitted, &mut batch).await?;
        self.in_flight.push_back(InFlight { shown: batch.shown, bad: batch.bad });
        self.submitted += 1;
        if self.due(self.submitted, last) {
            self.copy = Some((self.submitted, self.trainer.copy_state()));
        }
        Ok(())
    }

    /// Waits for the results of the oldest step in flight. Fails when it made no update, or has no finite loss.
    pub async fn take(&mut self) -> Result<Step> {
        let mut result = self.trainer.take().await?;
        let bad = self.in_flight.front_mut().map(|images| std::mem::take(&mut images.bad)).unwrap_or_default();
        let drift = self.trainer.task().average().map(|average| average.drift);
        let (bad, slowest) = self.team.agree(&mut result, bad, drift)?;
        self.check_update(&result)?;
        self.in_flight.pop_front();
        let mut metrics = self.measured(self.step, result);
        self.pace.arrive(&mut metrics, self.config.training.batch_size);
        metrics.slowest_rank = slowest.map(|slowest| slowest.rank);
        self.step += 1;
        let snapshot = match self.copy.take_if(|(step, _)| *step == self.step) {
            Some((_, copy)) => {
                let groups = self.trainer.take_state(copy).await?;
                self.team.same_state(self.step, &groups)?;
                Some(self.keep(groups))
            }
            None => None,
        };
        Ok(Step { metrics, snapshot, bad, slowest })
    }

    /// The state after the steps taken so far, with none in flight.
    pub async fn snapshot(&mut self) -> Result<Arc<Snapshot>> {
        assert_eq!(self.submitted, self.step, "steps in flight");
        let groups = self.trainer.take_state(self.trainer.copy_state()).await?;
        Ok(self.keep(groups))
    }

    /// Makes a snapshot of the state, and keeps it to go back to.
    fn keep(&mut self, groups: BTreeMap<String, Vec<NamedTensor>>) -> Arc<Snapshot> {
        let (left_out, collection) = (&self.left_out, &self.collection);
        self.good = Arc::new(snapshot_of(&self.trainer, &self.config, self.step, left_out, collection, groups));
        self.recoveries = 0;
        self.good.clone()
    }

    /// Starts measuring the pace anew, after a pause.
    pub fn restart_clock(&mut self) {
        self.pace.restart();
    }

    /// Fails when the oldest step in flight made no update, or has no finite loss. A loss scale that was too high is no
    /// fault.
    fn check_update(&self, result: &StepResult) -> Result<()> {
        let reason = match (result.not_finite, result.loss.is_finite(), self.config.training.gradient_norm_limit) {
            (0, true, _) if !result.refused => return Ok(()),
            _ if result.is_overflow() => return Ok(()),
            (0, true, Some(limit)) => format!("a gradient of norm {:.3}, above {limit}", result.gradient_norm),
            (count, _, _) => format!("loss {} and {count} gradient values that are not finite", result.loss),
        };
        Err(Error::Diverged(format!("step {} has {reason}", self.step + 1)))
    }

    /// Goes back to the last good state after `error`: on the device opened again if it was lost, without the images of
    /// the step whose update was refused; at most `RECOVERIES` times to each. Says what happened.
    pub async fn recover(&mut self, error: Error) -> Result<String, GivenUp> {
        let (lost, refused) = (self.trainer.device().is_lost(), matches!(error, Error::Diverged(_)));
        // A lost device of one process is none of the others: the job ends, and starts again from its checkpoint.
        if !refused && (!lost || !self.team.is_alone()) {
            return Err(GivenUp { error, tried: None });
        }
        if self.recoveries == RECOVERIES {
            return Err(GivenUp { error, tried: Some(self.recoveries) });
        }
        self.recoveries += 1;
        let mut told = format!("{error}; back to step {}", self.good.step);
        if lost {
            if let Err(again) = self.reopen().await {
                let error = Error::Gpu(format!("{error}; opening it again: {again}"));
                return Err(GivenUp { error, tried: Some(self.recoveries) });
            }
            told.push_str(" on the device opened again");
        } else {
            let own = self.in_flight.pop_front().map(|images| images.shown).unwrap_or_default();
            let images = self.team.images(&own).map_err(|error| GivenUp { error, tried: None })?;
            let names: Vec<_> = images.iter().map(|index| shown(&self.source.name(*index)).into_owned()).collect();
            told = format!("{told}, from now on without the images of this step: {}", names.join(", "));
            self.left_out.extend(images);
        }
        self.go_back().await.map_err(|error| GivenUp { error, tried: None })?;
        Ok(told)
    }

    /// Makes the trainer anew on the lost device's adapter.
    async fn reopen(&mut self) -> Result<()> {
        let device = self.trainer.device().reopen().await?;
        let (task, options) = (self.trainer.task().clone(), self.trainer.options().clone());
        self.trainer = Trainer::new(device, task, options).await?;
        Ok(())
    }

    /// Takes the last good state over, with nothing in flight and the loader at its step.
    async fn go_back(&mut self) -> Result<()> {
        while self.trainer.in_flight() > 0 {
            self.trainer.take().await?;
        }
        self.in_flight.clear();
        self.copy = None;
        let restored = self.trainer.restore(&self.good.groups);
        restored.map_err(|reason| Error::checkpoint("the last good state", reason))?;
        (self.step, self.submitted) = (self.good.step, self.good.step);
        let options = loader_options(&self.config, &self.left_out, self.team.share());
        self.loader = Loader::new(self.source.clone(), options, self.step)?;
        self.pace = Pace::new();
        Ok(())
    }

    async fn submit_batch(&mut self, step: u64, batch: &mut Batch) -> Result<()> {
        let training = &self.config.training;
        let task = self.trainer.task().clone();
        let prepared = task.prepare(step, &mut batch.images, &batch.shown);
        let count = self.trainer.options().micro_batches;
        let part = |len: usize, index: usize| len / count * index..len / count * (index + 1);
        let inputs = |index: usize| {
            let micro_batch = MicroBatch {
                images: &batch.images[part(batch.images.len(), index)],
                samples: &batch.samples[part(batch.samples.len(), index)],
                shown: &batch.shown[part(batch.shown.len(), index)],
                prepared: &prepared[part(prepared.len(), index)],
            };
            task.inputs(step, &micro_batch)
        };
        let inputs: Vec<Inputs<'_>> = (0..count).map(inputs).collect();
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
        if self.team.is_alone() {
            self.trainer.step(&inputs, settings);
            return Ok(());
        }
        let team = &self.team;
        self.trainer.step_with(&inputs, settings, async |trainer| team.exchange(trainer).await).await
    }

    fn measured(&self, step: u64, result: StepResult) -> Metrics {
        let training = &self.config.training;
        let mut scalars = result.scalars;
        if self.trainer.task().average().is_some() {
            scalars.add("ema_decay", schedule::ema_decay(step, training));
        }
        Metrics {
            step: step + 1,
            loss: result.loss,
            scalars,
            learning_rate: schedule::learning_rate(step, training),
            gradient_norm: result.gradient_norm,
            loss_scale: result.loss_scale,
            gpu_bytes: self.trainer.gpu_bytes(),
            resident_bytes: resident_bytes(),
            ..Metrics::default()
        }
    }
}

fn loader_options(config: &RunConfig, left_out: &BTreeSet<usize>, share: Share) -> LoaderOptions {
    let (model, training) = (&config.model, &config.training);
    LoaderOptions {
        batch_size: training.batch_size,
        share,
        height: model.image_height,
        width: model.image_width,
        channels: model.channels,
        augmentation: config
            .finetune
            .as_ref()
            .map_or_else(Augmentation::pretraining, |finetune| finetune.augmentation.clone()),
        normalise: model.normalise,
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
    collection: &Collection,
    groups: BTreeMap<String, Vec<NamedTensor>>,
) -> Snapshot {
    Snapshot {
        step,
        config: config.clone(),
        adapter: trainer.device().adapter().name.clone(),
        tuning: Some(serde_json::to_string(trainer.tuning()).expect("texts are JSON")),
        left_out: left_out.iter().copied().collect(),
        collection: Some(collection.clone()),
        groups,
    }
}

/// Main memory that this process holds, where the system tells.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
