//! A run from start or checkpoint to its last step, in a folder of its own.

use std::{collections::VecDeque, sync::Arc};

use super::{
    evaluation::{Evaluation, Evaluator},
    events::Events,
    run_folder::{Resumed, RunFolder},
    samples::Sampler,
    saver::{Saved, Saver},
    stop::{Ended, Stops},
};
use crate::{
    checkpoint::Model,
    data::Source,
    device::Device,
    error::{Error, Result},
    kernels::Tuning,
    report,
    tasks::Scalars,
    train::{
        Trainer,
        config::RunConfig,
        metrics::{self, Metrics, MetricsLog},
        snapshot::Snapshot,
        team::Team,
        training::{self, GivenUp, Training},
    },
};

/// What a run trains on.
pub struct Images {
    /// The images.
    pub source: Arc<dyn Source>,
    /// The class of each, where a classifier is trained.
    pub labels: Vec<u32>,
    /// What the network is evaluated on.
    pub evaluation: Option<Evaluation>,
}

impl Images {
    /// Images without classes.
    pub fn plain(source: Arc<dyn Source>) -> Images {
        Images { source, labels: Vec::new(), evaluation: None }
    }
}

/// A run about to start or to go on.
pub struct Run {
    training: Training,
    log: MetricsLog,
    events: Events,
    saver: Saver,
    /// None where no samples are drawn.
    sampler: Option<Sampler>,
    /// None where nothing is evaluated.
    evaluator: Option<Evaluator>,
    /// The step of the newest snapshot that the saver was given, or of the one that the run goes on from.
    saved: u64,
    /// The process that the others were last said to wait for.
    slowest: Option<usize>,
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

impl Start {
    /// The same as training takes it.
    pub(super) fn of(self, config: &RunConfig) -> training::Start {
        match self {
            Start::Seed => training::Start::Seed,
            Start::Weights(model) => {
                let path = config.training.init_from.clone().unwrap_or_default();
                training::Start::Weights(model.tensors, path.into())
            }
            Start::Resumed(from) => training::Start::State(Box::new(from.snapshot), from.path),
        }
    }
}

/// What a caller hears of while a run goes on.
pub enum Event<'a> {
    /// A step's results arrived.
    Step(&'a Metrics),
    /// An image could not be read and another takes its place.
    BadImage(&'a str),
    /// The others wait for one of the processes that train together: what is known of it.
    Slow(&'a str),
    /// The network was evaluated after a step: what was found, by name.
    Evaluated(u64, &'a Scalars),
    /// A checkpoint is on the disk.
    Saved(&'a Saved),
    /// Something went wrong, and the run goes on from an earlier step: what happened, and the step.
    Recovered(&'a str, u64),
}

impl Run {
    /// Prepares a run: its training, and what it writes into its folder.
    pub async fn new(
        config: RunConfig,
        folder: RunFolder,
        images: Images,
        device: Device,
        tuning: Tuning,
        start: Start,
        team: Team,
    ) -> Result<Run> {
        let start = start.of(&config);
        let task = config.task(images.labels.into());
        let training = Training::new(config, task, images.source, device, tuning, start, team).await?;
        let evaluator = images.evaluation.and_then(|on| Evaluator::new(training.config(), on));
        let (config, step) = (training.config(), training.step());
        // A classifier has no decoders to draw with.
        let draws = config.finetune.is_none() && config.training.sample_every_steps > 0;
        let sampler = draws.then(|| Sampler::new(folder.path(), &**training.source(), &config.model)).transpose()?;
        folder.write_config(config)?;
        let log = MetricsLog::open(&folder.path().join(metrics::FILE_NAME), step)?;
        let events = Events::open(folder.path(), step)?;
        let saver = Saver::new(folder.path(), config.training.keep_checkpoints);
        Ok(Run { training, log, events, saver, sampler, evaluator, saved: step, slowest: None, folder })
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.training.step()
    }

    /// The trainer.
    pub fn trainer(&self) -> &Trainer {
        self.training.trainer()
    }

    /// Trains to the last step, or until one of `stops` is due, and saves. Where the device is lost or an update refused,
    /// the run goes back to its last good state, a few times to each.
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
        let (steps, sample_every) = {
            let training = &self.training.config().training;
            (training.steps, training.sample_every_steps)
        };
        let mut last = stops.after.unwrap_or(steps).min(steps);
        let mut ended = if last < steps { Ended::StoppedAfter } else { Ended::Finished };
        self.training.restart_clock();
        let mut samples = VecDeque::new();
        while self.step() < last {
            let submitted = self.training.submitted();
            if let Some(reason) = stops.agreed(self.training.team()).filter(|_| submitted < last) {
                (last, ended) = (submitted, reason);
                if submitted == self.step() {
                    break;
                }
            }
            // An evaluation is of the weights after its step: none is submitted beyond it before.
            let until = self.evaluator.as_ref().map_or(last, |evaluator| evaluator.next(self.step()).min(last));
            while self.training.submitted() < until && self.training.may_submit(last) {
                self.training.submit(last).await?;
                let submitted = self.training.submitted();
                if let Some(sampler) = &mut self.sampler
                    && submitted.is_multiple_of(sample_every)
                {
                    samples.push_back((submitted, sampler.begin(self.training.trainer()).await?));
                }
            }
            let mut step = self.training.take().await?;
            step.bad.iter().for_each(|name| on(Event::BadImage(name)));
            if let Some(slowest) = step.slowest.filter(|slowest| slowest.delays())
                && self.slowest.replace(slowest.rank) != Some(slowest.rank)
            {
                on(Event::Slow(&slowest.told(self.training.team().host(slowest.rank))));
            }
            if let Some(evaluator) = &mut self.evaluator
                && evaluator.is_due(self.training.step(), steps)
            {
                let found = evaluator.evaluate(self.training.trainer()).await?;
                found.iter().for_each(|(name, value)| step.metrics.scalars.add(name.to_owned(), value));
                on(Event::Evaluated(self.training.step(), &found));
                self.training.restart_clock();
            }
            self.log.write(&step.metrics)?;
            self.events.scalars(&step.metrics)?;
            on(Event::Step(&step.metrics));
            let before = match step.snapshot {
                Some(snapshot) => self.save(snapshot)?,
                None => self.saver.poll()?,
            };
            before.iter().for_each(|saved| on(Event::Saved(saved)));
            let reached = self.step();
            if let (Some(sampler), Some((step, predicted))) =
                (&self.sampler, samples.pop_front_if(|(step, _)| *step == reached))
            {
                let sample = sampler.finish(self.training.trainer(), predicted, step).await?;
                self.events.picture(step, sample.pixels, &sample.png)?;
            }
        }
        self.saver.finish()?.iter().for_each(|saved| on(Event::Saved(saved)));
        if self.saved < self.step() {
            let snapshot = self.training.snapshot().await?;
            self.save(snapshot)?;
            self.saver.finish()?.iter().for_each(|saved| on(Event::Saved(saved)));
        }
        // A run is no worse for want of it.
        if let Err(error) = report::page::write(self.folder.path()) {
            tracing::warn!("the report was not written: {error}");
        }
        Ok(ended)
    }

    /// Hands a snapshot to the saver; returns the save that had to end first.
    fn save(&mut self, snapshot: Arc<Snapshot>) -> Result<Option<Saved>> {
        self.saved = snapshot.step;
        self.saver.start(snapshot, self.log.handle()?)
    }

    /// Goes back to the last good state after `error`, the files of the run too. Gives the error back where that does not
    /// help.
    async fn recover(&mut self, error: Error, on: &mut impl FnMut(Event<'_>)) -> Result<()> {
        let told = match self.training.recover(error).await {
            Ok(told) => told,
            Err(GivenUp { error, tried: Some(tried) }) => return Err(self.give_up(error, tried)),
            Err(GivenUp { error, tried: None }) => return Err(error),
        };
        self.sampler.iter_mut().for_each(Sampler::forget_device);
        self.evaluator.iter_mut().for_each(Evaluator::forget_device);
        let step = self.step();
        self.log = MetricsLog::open(&self.folder.path().join(metrics::FILE_NAME), step)?;
        self.events = Events::open(self.folder.path(), step)?;
        on(Event::Recovered(&told, step));
        Ok(())
    }

    /// Makes sure that the last good state is on the disk, and says where the run can go on from.
    fn give_up(&mut self, error: Error, tried: u32) -> Error {
        let (checkpoints, good) = (self.folder.checkpoints(), self.training.good());
        let keep = self.training.config().training.keep_checkpoints;
        let saved = match self.saver.finish() {
            Ok(_) if checkpoints.path(good.step).exists() => Ok(()),
            Ok(_) => checkpoints.save(good, keep).map(drop),
            Err(unsaved) => Err(unsaved),
        };
        let state = match saved {
            Ok(()) => format!("the state of step {} is saved", good.step),
            Err(unsaved) => format!("the state of step {} could not be saved ({unsaved})", good.step),
        };
        let tried = format!("after going back {tried} times; {state}");
        match error {
            Error::Diverged(reason) => Error::Diverged(format!(
                "{reason} {tried}. Lower training.peak_learning_rate or look at the images named, and start again"
            )),
            other => Error::Gpu(format!("{other} {tried}. Continue with --resume")),
        }
    }
}
