//! The trait that training speaks to, whatever carries the messages.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the values of a sum travel. They are added in f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// As they are.
    #[default]
    F32,
    /// As halves times a power of two that is chosen for each piece: half the bytes, and a relative error of 2⁻¹¹ for
    /// each contribution and for the result. Infinities and NaN stay. Bits depend on the number of ranks.
    F16,
}

/// What all ranks of a group must have agreed on, and how long they are patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How the values of sums travel; the same on all ranks.
    pub wire: Wire,
    /// How long an operation may see no message before it is given up.
    pub watchdog: Duration,
}

impl Default for Settings {
    /// F32, 120 seconds.
    fn default() -> Self {
        Self { wire: Wire::F32, watchdog: Duration::from_secs(120) }
    }
}

/// A sum under way.
#[must_use = "a sum is to be finished"]
#[derive(Debug)]
pub struct Ticket(Receiver<Result<Vec<f32>>>);

impl Ticket {
    /// The ticket of a sum whose values come through `answer`.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code))]
    pub(super) fn new(answer: Receiver<Result<Vec<f32>>>) -> Self {
        Self(answer)
    }

    /// The ticket of a sum that is there.
    pub(super) fn ready(values: Vec<f32>) -> Self {
        let (sender, answer) = channel();
        // The receiver is right here.
        let _ = sender.send(Ok(values));
        Self(answer)
    }

    /// Waits for the values.
    pub(super) fn wait(self) -> Result<Vec<f32>> {
        self.0.recv().unwrap_or_else(|_| Err(Error::Ranks("the thread that exchanges messages has ended".into())))
    }
}

/// One rank's end of a group of processes that train one model.
///
/// **All ranks call the same operations in the same order**: `start_sum` (and `sum`), `gather`, `broadcast`, `barrier`,
/// with buckets of equal lengths and equal roots. Only `finish_sum` may come in any order. Where a rank breaks this, is
/// lost, or is silent for longer than [`Settings::watchdog`], operations fail with [`Error::Ranks`], which names it, or
/// the job ends with exit code 4. After an error the group is of no more use: end it by [`Collective::abort`], with the
/// error's exit code, before anything else is waited for.
pub trait Collective: Send {
    /// This process's number, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// This process's number among those on its host, from 0.
    fn node_rank(&self) -> usize;

    /// The name of the host.
    fn host(&self) -> &str;

    /// Sets how values travel and how long ranks are patient, from the next operation on.
    fn configure(&mut self, settings: Settings);

    /// Begins to sum `bucket` with those of the other ranks, element by element, and returns at once. Several sums may
    /// be under way; they are exchanged side by side.
    fn start_sum(&mut self, bucket: Vec<f32>) -> Result<Ticket>;

    /// Waits for a sum that was begun and returns it, as long as the bucket was and with equal bits on every rank.
    fn finish_sum(&mut self, ticket: Ticket) -> Result<Vec<f32>> {
        ticket.wait()
    }

    /// Replaces `values` by the sum over ranks. They are as before where it fails.
    fn sum(&mut self, values: &mut [f32]) -> Result<()> {
        let ticket = self.start_sum(values.to_vec())?;
        values.copy_from_slice(&self.finish_sum(ticket)?);
        Ok(())
    }

    /// Everyone's bytes on every rank, in the order of ranks. Lengths may differ and be 0.
    fn gather(&mut self, own: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Replaces `bytes` on every rank by those of rank `root`, whose length need not be known.
    fn broadcast(&mut self, bytes: &mut Vec<u8>, root: usize) -> Result<()>;

    /// Waits until every rank has called it.
    fn barrier(&mut self) -> Result<()> {
        self.gather(&[]).map(drop)
    }

    /// Ends all ranks with this exit code, after saying why. Under MPI the launcher ends them; alone the process ends;
    /// among threads of one process this thread panics, and the others' operations fail.
    fn abort(&self, code: i32, why: &str) -> !;
}
