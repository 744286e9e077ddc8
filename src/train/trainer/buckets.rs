//! The gradient in parts that leave for other processes one after another, each as soon as the backward pass has it.

use super::{
    options::TrainerOptions,
    plans::{GRADIENTS, SUMS, plan_add_run},
};
use crate::{
    device::{Device, Readback},
    error::Result,
    exec::{Arenas, Executor},
    lower::{Plan, Storage},
    nn::{Layout, Param, Shard},
};

/// Bytes of a bucket.
pub const BUCKET: u64 = 32 << 20;
/// Bytes of the first one, so that the exchange begins early.
const FIRST: u64 = 4 << 20;

/// A run of bytes of a shard of the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) shard: usize,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Runs that are complete after so many dispatches of the pass.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ready {
    dispatches: usize,
    runs: Vec<Run>,
}

impl Ready {
    fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.bytes).sum()
    }
}

/// A part of the gradient on its way.
pub struct Bucket {
    /// Dispatches of the pass that it is complete after.
    pub(super) dispatches: usize,
    pub(super) runs: Vec<Run>,
    /// What adds it to the passes before, where there are several.
    pub(super) adds: Vec<Executor>,
    /// Its values in main memory.
    pub(super) readback: Readback,
}

impl Bucket {
    /// Waits for the values of this process.
    pub(crate) async fn take(&self, device: &Device) -> Result<Vec<f32>> {
        Ok(bytemuck::pod_collect_to_vec(&self.readback.take(device).await?))
    }
}

/// The buckets of a pass, in the order in which they are complete.
pub(super) async fn buckets(
    device: &Device,
    layout: &Layout,
    options: &TrainerOptions,
    (pass, arenas): (&Plan, &Arenas),
) -> Result<Vec<Bucket>> {
    let mut buckets = Vec::new();
    for Ready { dispatches, runs } in gathered(ready(pass, layout), (FIRST, BUCKET)) {
        let mut adds = Vec::new();
        for run in runs.iter().filter(|_| options.micro_batches > 1) {
            let add = Executor::new(
                device,
                plan_add_run((run.shard, run.offset, run.bytes), SUMS, GRADIENTS, options),
                arenas,
            )
            .await?;
            add.write(device, "keep_sum", bytemuck::bytes_of(&1f32));
            adds.push(add);
        }
        let bytes = runs.iter().map(|run| run.bytes).sum();
        buckets.push(Bucket { dispatches, runs, adds, readback: Readback::new(device, "bucket", bytes) });
    }
    Ok(buckets)
}

/// The whole gradient after a pass, a bucket each shard.
pub(super) fn whole(device: &Device, layout: &Layout, pass: &Plan) -> Vec<Bucket> {
    let of = |(shard, held): (usize, &Shard)| {
        let bytes = held.len as u64 * 4;
        let (runs, readback) = (vec![Run { shard, offset: 0, bytes }], Readback::new(device, "shard", bytes));
        Bucket { dispatches: pass.dispatches.len(), runs, adds: Vec::new(), readback }
    };
    layout.shards.iter().enumerate().map(of).collect()
}

/// Each tensor's run, after the last dispatch that writes into it, in that order. What nothing writes is ready at once.
fn ready(pass: &Plan, layout: &Layout) -> Vec<(usize, Run)> {
    let mut written: Vec<(usize, Run)> = Vec::new();
    for (index, dispatch) in pass.dispatches.iter().enumerate() {
        for (_, range) in dispatch.kernel.bindings.iter().zip(&dispatch.ranges).filter(|(b, _)| b.write) {
            if let Storage::Arena { arena: GRADIENTS, shard } = pass.buffers[range.buffer] {
                written.push((index + 1, Run { shard, offset: range.offset, bytes: range.bytes }));
            }
        }
    }
    let of = |run: Run| {
        let touches = |other: &Run| {
            other.shard == run.shard && other.offset < run.offset + run.bytes && run.offset < other.offset + other.bytes
        };
        let last = written.iter().filter(|(_, other)| touches(other)).map(|(after, _)| *after).max();
        (last.unwrap_or_default(), run)
    };
    let of_param = |param: &Param| {
        let (place, len) = layout.runs(GRADIENTS, |name| name == param.name)[0];
        of(Run { shard: place.shard, offset: place.offset, bytes: len as u64 * 4 })
    };
    let mut ready: Vec<_> = layout.params.iter().map(of_param).collect();
    ready.sort_by_key(|(after, run)| (*after, run.shard, run.offset));
    ready
}

/// Runs in buckets of so many bytes, the first and the others; neighbours in a bucket become one.
fn gathered(ready: Vec<(usize, Run)>, (first, most): (u64, u64)) -> Vec<Ready> {
    let mut buckets: Vec<Ready> = Vec::new();
    for (dispatches, run) in ready {
        let limit = if buckets.len() <= 1 { first } else { most };
        if buckets.last().is_none_or(|bucket| bucket.bytes() >= limit) {
            buckets.push(Ready::default());
        }
        let bucket = buckets.last_mut().expect("one was pushed");
        bucket.dispatches = bucket.dispatches.max(dispatches);
        bucket.runs.push(run);
    }
    for bucket in &mut buckets {
        bucket.runs.sort_by_key(|run| (run.shard, run.offset));
        let mut joined: Vec<Run> = Vec::new();
        for run in bucket.runs.drain(..) {
            match joined.last_mut() {
                Some(last) if last.shard == run.shard && last.offset + last.bytes == run.offset => {
                    last.bytes += run.bytes;
                }
                _ => joined.push(run),
            }
        }
        bucket.runs = joined;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(shard: usize, offset: u64, bytes: u64) -> Run {
        Run { shard, offset, bytes }
    }

    #[test]
    fn runs_are_gathered_as_they_become_ready_and_joined() {
        let ready = vec![
            (2, run(0, 512, 256)),
            (3, run(0, 768, 256)),
            (5, run(1, 0, 512)),
            (7, run(0, 256, 256)),
            (9, run(0, 0, 256)),
        ];
        let of = |dispatches, runs: Vec<Run>| Ready { dispatches, runs };
        assert_eq!(
            gathered(ready.clone(), (256, 700)),
            [of(2, vec![run(0, 512, 256)]), of(5, vec![run(0, 768, 256), run(1, 0, 512)]), of(9, vec![run(0, 0, 512)]),]
        );
        assert_eq!(gathered(ready, (1 << 20, 1 << 20)), [of(9, vec![run(0, 0, 1024), run(1, 0, 512)])]);
    }
}
