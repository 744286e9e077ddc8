//! The processes that train one network together, as training sees them: whose images are whose, the exchange of
//! gradients, and what each has to know of the others. Weights, moments and moving average stay equal in all of them,
//! since every one makes the same update from the same gradients.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use web_time::Instant;

use super::{
    Slowest, StepResult, Trainer,
    config::TrainingConfig,
    snapshot::NamedTensor,
    stragglers::{Effort, Stragglers},
};
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
    /// What its part of the step took.
    effort: Effort,
}

/// The processes of a run; one, or several with a GPU each.
pub struct Team {
    world: World,
    /// Why this process would stop, and why the processes agreed to.
    stop: [u8; 2],
    /// When this process began the step, and what of the time since then it waited for images.
    begun: (Instant, f64),
    effort: Cell<Effort>,
    stragglers: Stragglers,
}

impl Team {
    /// This process by itself.
    pub fn alone() -> Team {
        Team::of(World::alone())
    }

    /// The processes of a world.
    pub fn of(world: World) -> Team {
        let (effort, stragglers) = (Cell::default(), Stragglers::default());
        Team { world, stop: [0; 2], begun: (Instant::now(), 0.0), effort, stragglers }
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

    /// Where a process is, by its machine's name.
    pub fn host(&self, rank: usize) -> &str {
        self.world.host(rank)
    }

    /// Notes that a step began then, and how many seconds it waited for its images.
    pub(super) fn begins(&mut self, at: Instant, images: f64) {
        self.begun = (at, images);
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
        let (at, images) = self.begun;
        self.effort.set(Effort { all: at.elapsed().as_secs_f64(), images });
        for (bucket, sum) in sums {
            trainer.bring_back(bucket, &self.world.finish_sum(sum)?);
        }
        Ok(())
    }

    /// Makes the averages of all processes of each one's part, but for `drift`, which is of the weights. Returns the images
    /// that any found unreadable, and now and then the process that took the longest.
    pub(super) fn agree(
        &mut self,
        result: &mut StepResult,
        bad: Vec<String>,
        drift: Option<&'static str>,
    ) -> Result<(Vec<String>, Option<Slowest>)> {
        if self.is_alone() {
            return Ok((bad, None));
        }
        let mut scalars = Scalars::default();
        scalars.add(LOSS, result.loss);
        result.scalars.iter().for_each(|(name, value)| scalars.add(name.to_owned(), value));
        let words: Vec<Word> = self.gathered(&Word { scalars, bad, stop: self.stop[0], effort: self.effort.get() })?;
        let all = Scalars::added_up(words.iter().map(|word| word.scalars.clone()).collect());
        result.loss = all[LOSS];
        let held = std::mem::take(&mut result.scalars);
        for (name, value) in held.iter() {
            let value = if Some(name) == drift { value } else { all[name] };
            result.scalars.add(name.to_owned(), value);
        }
        self.stop[1] = words.iter().map(|word| word.stop).max().unwrap_or_default();
        let slowest = self.stragglers.step(words.iter().map(|word| word.effort).collect());
        Ok((words.into_iter().flat_map(|word| word.bad).collect(), slowest))
    }

    /// Makes sure that all processes are in the same state, `groups` being this one's after a step.
    ///
    /// # Errors
    /// [`Error::Gpu`] where they differ, naming process and group of values: one of them computes or remembers wrongly.
    pub(super) fn same_state(&self, step: u64, groups: &BTreeMap<String, Vec<NamedTensor>>) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let own: Vec<(&String, u64)> = groups.iter().map(|(name, tensors)| (name, checksum(tensors))).collect();
        let all: Vec<Vec<(String, u64)>> = self.gathered(&own)?;
        for (rank, sums) in all.iter().enumerate() {
            if let Some(((name, _), _)) = all[0].iter().zip(sums).find(|(first, own)| first != own) {
                let host = self.host(rank);
                return Err(Error::Gpu(format!(
                    "after step {step} the {name} of process {rank}{}{host} are not those of process 0, though both made the \
                     same updates: one of the two GPUs, or its memory, does not compute as it should. Go on from the \
                     checkpoint before without it",
                    if host.is_empty() { "" } else { " on " },
                )));
            }
        }
        Ok(())
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

/// A number that is another one for other bits, or other places of them.
fn checksum(tensors: &[NamedTensor]) -> u64 {
    let words = tensors.iter().flat_map(|tensor| &tensor.data);
    words.fold(0xcbf2_9ce4_8422_2325, |sum, word| (sum ^ u64::from(word.to_bits())).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::{Settings, threads};

    #[test]
    fn a_process_in_another_state_is_named() {
        let said = |odd: Option<usize>| -> Vec<Result<()>> {
            let members = threads::world(3, Settings::default(), None).unwrap();
            std::thread::scope(|scope| {
                let one = |(rank, member)| {
                    scope.spawn(move || {
                        let second = if odd == Some(rank) { -0.0 } else { 0.0 };
                        let tensor = |data| NamedTensor { name: "w".into(), shape: vec![2], data };
                        let groups = BTreeMap::from([
                            ("moments".to_owned(), vec![tensor(vec![1.0, second])]),
                            ("weights".to_owned(), vec![tensor(vec![1.0, 2.0])]),
                        ]);
                        Team::of(World::of(member)).same_state(7, &groups)
                    })
                };
                let threads: Vec<_> = members.into_iter().enumerate().map(one).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            })
        };
        assert!(said(None).into_iter().all(|equal| equal.is_ok()));
        for said in said(Some(2)) {
            let error = said.unwrap_err();
            assert_eq!(error.exit_code(), 4);
            assert!(error.to_string().contains("after step 7 the moments of process 2"), "{error}");
        }
    }

    #[test]
    fn a_checksum_knows_places() {
        let of =
            |data: &[f32]| checksum(&[NamedTensor { name: "w".into(), shape: vec![data.len()], data: data.into() }]);
        assert_ne!(of(&[1.0, 2.0]), of(&[2.0, 1.0]));
        assert_eq!(of(&[f32::NAN]), of(&[f32::NAN]));
    }
}
