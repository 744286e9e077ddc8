//! The processes that train one network together, as training sees them: whose images are whose, the exchange of
//! gradients, and what each has to know of the others. Weights, moments and moving average stay equal in all of them,
//! since every one makes the same update from the same gradients.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{StepResult, Trainer, config::TrainingConfig};
use crate::{
    data::Share,
    dist::{Wire, World},
    error::{Error, Result},
    tasks::Scalars,
};

/// The name of the loss among the scalars that are exchanged.
const LOSS: &str = "loss";

/// What each process tells the others after a step.
#[derive(Serialize, Deserialize)]
struct Word {
    /// Its part of the averages of the update.
    scalars: Scalars,
    /// Images that it found unreadable, each with the reason.
    bad: Vec<String>,
    /// Why it would stop, as a number that its caller knows; 0 for no reason.
    stop: u8,
}

/// The processes of a run; one, or several with a GPU each.
pub struct Team {
    world: World,
    /// Why this process would stop, and why the processes agreed to.
    stop: [u8; 2],
}

impl Team {
    /// This process by itself.
    pub fn alone() -> Team {
        Team::of(World::alone())
    }

    /// The processes of a world.
    pub fn of(world: World) -> Team {
        Team { world, stop: [0; 2] }
    }

    /// Processes.
    pub fn size(&self) -> usize {
        self.world.size()
    }

    /// Whether there is no other process.
    pub fn is_alone(&self) -> bool {
        self.size() == 1
    }

    /// The part of every batch that this process trains on.
    pub(super) fn share(&self) -> Share {
        Share { part: self.world.rank(), of: self.size() }
    }

    /// Sets how gradients travel.
    pub(super) fn travel_as(&self, wire: Wire) {
        self.world.travel_as(wire);
    }

    /// Passes of each process for an update.
    ///
    /// # Errors
    /// [`Error::Config`] where the micro-batches cannot be dealt out evenly.
    pub(super) fn passes(&self, training: &TrainingConfig) -> Result<usize> {
        let (passes, ranks) = (training.micro_batches, self.size());
        if !passes.is_multiple_of(ranks) {
            return Err(Error::Config(format!(
                "{passes} micro-batches cannot be dealt out to {ranks} processes; give --micro-batch {} or less, a divisor \
                 of it",
                training.batch_size / ranks.max(1)
            )));
        }
        Ok(passes / ranks)
    }

    /// Whether to stop: `own` where this process is alone, else what all agreed to after the last step, this one's wish of
    /// now being told after the next.
    pub fn stop(&mut self, own: u8) -> u8 {
        if self.is_alone() {
            return own;
        }
        self.stop[0] = self.stop[0].max(own);
        self.stop[1]
    }

    /// Adds up the gradients of all processes, which come with the factor of an average already: a bucket leaves while the
    /// backward pass works on the next ones.
    pub(super) async fn exchange(&self, trainer: &Trainer) -> Result<()> {
        let mut sums = Vec::new();
        for bucket in trainer.buckets() {
            sums.push((bucket, self.world.start_sum(bucket.take(trainer.device()).await?)?));
        }
        for (bucket, sum) in sums {
            trainer.bring_back(bucket, &self.world.finish_sum(sum)?);
        }
        Ok(())
    }

    /// Makes the averages of all processes of each one's part, but for `drift`, which is of the weights. Returns the images
    /// that any found unreadable.
    pub(super) fn agree(
        &mut self,
        result: &mut StepResult,
        bad: Vec<String>,
        drift: Option<&'static str>,
    ) -> Result<Vec<String>> {
        if self.is_alone() {
            return Ok(bad);
        }
        let mut scalars = Scalars::default();
        scalars.add(LOSS, result.loss);
        result.scalars.iter().for_each(|(name, value)| scalars.add(name.to_owned(), value));
        let words: Vec<Word> = self.gathered(&Word { scalars, bad, stop: self.stop[0] })?;
        let all = Scalars::added_up(words.iter().map(|word| word.scalars.clone()).collect());
        result.loss = all[LOSS];
        let held = std::mem::take(&mut result.scalars);
        for (name, value) in held.iter() {
            let value = if Some(name) == drift { value } else { all[name] };
            result.scalars.add(name.to_owned(), value);
        }
        self.stop[1] = words.iter().map(|word| word.stop).max().unwrap_or_default();
        Ok(words.into_iter().flat_map(|word| word.bad).collect())
    }

    /// The images of all processes.
    pub(super) fn images(&self, own: &[usize]) -> Result<BTreeSet<usize>> {
        let all: Vec<Vec<usize>> = self.gathered(&own)?;
        Ok(all.into_iter().flatten().collect())
    }

    /// What every process says, in the order of their numbers.
    fn gathered<T: DeserializeOwned>(&self, own: &impl Serialize) -> Result<Vec<T>> {
        let own = serde_json::to_vec(own).expect("plain values are JSON");
        let read = |(rank, bytes): (usize, Vec<u8>)| {
            serde_json::from_slice(&bytes)
                .map_err(|error| Error::Config(format!("what process {rank} says cannot be read: {error}")))
        };
        self.world.gather(&own)?.into_iter().enumerate().map(read).collect()
    }
}
