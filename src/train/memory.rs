//! How much memory a training step needs, found without allocating any, how long its longest dispatch may take, and the
//! micro-batch that fits.

use serde::Serialize;

use super::{
    TrainerOptions,
    config::Passes,
    trainer::{self, PlannedStep},
};
use crate::{
    device::Device,
    error::{Error, Result},
    exec::check_limits,
    kernels::Tuning,
    tasks::Task,
};

/// The share of an adapter's memory that a run may plan for; the rest is left to the system, drivers and staging.
const USABLE: f64 = 0.9;

/// The most seconds that a dispatch may take on a slow GPU: systems reset one that works on something for two seconds.
const DISPATCH_S: f64 = 1.5;

/// What a training step asks of a GPU: memory, in bytes, and patience.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Footprint {
    /// Weights, gradients, both moments, the teacher, and with several micro-batches the sums of gradients.
    pub state: u64,
    /// Activations and inputs of one micro-batch, and the update's scratch.
    pub work: u64,
    /// Seconds that the longest dispatch takes at most on a slow GPU.
    pub longest_dispatch_s: f64,
}

impl Footprint {
    /// Everything.
    pub fn total(&self) -> u64 {
        self.state + self.work
    }

    /// Whether a dispatch may take so long on `device` that the system resets it. Nothing resets software adapters.
    pub fn is_too_long(&self, device: &Device) -> bool {
        !device.is_software() && self.longest_dispatch_s > DISPATCH_S
    }
}

/// A micro-batch and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// Images of one forward and backward pass.
    pub micro_batch: usize,
    /// Passes of an update.
    pub micro_batches: usize,
    /// What they need.
    pub footprint: Footprint,
}

/// The bytes that a run may plan for on a device: `limit`, or most of what the adapter says it has. Nothing where
/// neither is known.
pub fn usable_bytes(device: &Device, limit: Option<u64>) -> Option<u64> {
    limit.or_else(|| device.adapter().memory_bytes.map(|bytes| (bytes as f64 * USABLE) as u64))
}

impl Passes {
    fn options(&self, tuning: Tuning) -> TrainerOptions {
        let Passes { batch, micro_batches, reduction, recompute, precision } = *self;
        TrainerOptions {
            reduction,
            recompute,
            precision,
            ..TrainerOptions::new(batch / micro_batches, micro_batches, tuning)
        }
    }
}

/// What a step needs; the error names the limit of the device that it exceeds.
pub fn footprint(device: &Device, task: &dyn Task, passes: Passes) -> Result<Footprint> {
    let planned = trainer::planned(Some(device), task, &passes.options(Tuning::for_device(device)));
    planned.plans.iter().try_for_each(|plan| check_limits(device, plan))?;
    Ok(of(&planned))
}

/// What a step needs, as far as it can be known without a device.
pub fn estimate(task: &dyn Task, passes: Passes) -> Footprint {
    of(&trainer::planned(None, task, &passes.options(Tuning::for_gpus())))
}

fn of(planned: &PlannedStep) -> Footprint {
    let work = planned.plans.iter().map(|plan| plan.pool_bytes() + plan.input_bytes()).sum();
    let dispatches = planned.plans.iter().flat_map(|plan| &plan.dispatches);
    let longest_dispatch_s = dispatches.map(|dispatch| dispatch.seconds()).fold(0.0, f64::max);
    Footprint { state: planned.state_bytes, work, longest_dispatch_s }
}

/// The largest micro-batch of an update that `usable` bytes, the device's limits and the bound on a dispatch allow,
/// whatever that of `passes` is, or why even single images do not fit.
pub fn fit(device: &Device, task: &dyn Task, passes: Passes, usable: Option<u64>) -> Result<Fit> {
    let (batch, mut last) = (passes.batch, None);
    for micro_batches in (1..=batch).filter(|count| batch.is_multiple_of(*count)) {
        match footprint(device, task, Passes { micro_batches, ..passes }) {
            Ok(footprint)
                if usable.is_none_or(|usable| footprint.total() <= usable) && !footprint.is_too_long(device) =>
            {
                return Ok(Fit { micro_batch: batch / micro_batches, micro_batches, footprint });
            }
            Ok(footprint) => {
                last = Some(Error::Gpu(format!(
                    "one image at a time needs {} of GPU memory; {} has {} for it. Choose a smaller preset with --model, \
                     or another adapter",
                    mib(footprint.total()),
                    device.adapter().name,
                    mib(usable.unwrap_or_default())
                )));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("every batch is divided by one"))
}

/// Bytes for people.
pub fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lower::{Precision, Recompute},
        model::{ModelConfig, config::PRESETS},
        tasks::Pretrain,
        train::config::Reduction,
    };

    #[test]
    fn one_image_of_any_preset_keeps_every_dispatch_short() {
        for preset in PRESETS {
            let task = Pretrain::of(&ModelConfig::preset(preset).unwrap());
            let passes = |batch, recompute| Passes {
                batch,
                micro_batches: 1,
                reduction: Reduction::Sequence,
                recompute,
                precision: Precision::F32,
            };
            let [one, eight] = [1, 8].map(|batch| estimate(&task, passes(batch, Recompute::None)));
            assert!(one.longest_dispatch_s < DISPATCH_S / 2.0, "{preset}: {one:?}");
            assert!(eight.longest_dispatch_s >= one.longest_dispatch_s && eight.state == one.state, "{preset}");
            assert!(eight.work > one.work, "{preset}");
            let again = [Recompute::Attention, Recompute::Blocks].map(|what| estimate(&task, passes(8, what)).work);
            assert!(again[0] < eight.work && again[1] < again[0], "{preset}: {again:?} of {}", eight.work);
        }
    }
}
