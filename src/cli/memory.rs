//! Whether a run fits the GPU's memory, and what would.

use std::path::Path;

use super::longer::from_weights;
use crate::{
    device::Device,
    error::{Error, Result},
    lower::Recompute,
    train::{
        config::{Passes, RunConfig},
        memory::{fit, footprint, mib, usable_bytes},
    },
};

/// What a person said of memory.
pub(super) struct Memory<'a> {
    /// At most this much, in MiB.
    pub(super) most_mib: Option<u64>,
    /// Whether the micro-batch is left to the program.
    pub(super) auto: bool,
    /// Processes that the passes of an update are dealt out to.
    pub(super) ranks: usize,
    /// The run's folder, for messages.
    pub(super) out: &'a Path,
}

/// Makes sure, before anything is allocated, that the run fits the GPU's memory; chooses the micro-batch where that is
/// left to the program, and says so. A resumed run has its own already.
pub(super) fn settle_memory(
    arguments: &Memory<'_>,
    device: &Device,
    config: &mut RunConfig,
    resumed: bool,
) -> Result<Option<String>> {
    let usable = usable_bytes(device, arguments.most_mib.map(|mib| mib << 20));
    let (batch, passes) = (config.training.batch_size, config.training.passes());
    if arguments.auto && !resumed {
        let found = fit(device, &*config.planned_task(), passes, usable)?;
        config.training.micro_batches = found.micro_batches;
        let needs = mib(found.footprint.total());
        return Ok(Some(format!("micro-batch {} ({} an update): {needs}", found.micro_batch, found.micro_batches)));
    }
    // What this process holds.
    let (batch_here, micro_batches) = (batch / arguments.ranks, (passes.micro_batches / arguments.ranks).max(1));
    let here = Passes { batch: batch_here, micro_batches, ..passes };
    let footprint = footprint(device, &*config.planned_task(), here)?;
    let needs = footprint.total();
    match usable {
        Some(usable) if needs > usable && resumed => {
            Err(Error::Gpu(smaller_on_resume(arguments, device, config, needs, usable)))
        }
        Some(usable) if needs > usable => Err(Error::Gpu(format!(
            "this run needs {} of GPU memory; {} has {} for it. Give --micro-batch auto, which keeps the batch of \
             {batch} images, --recompute blocks, or a smaller --model",
            mib(needs),
            device.adapter().name,
            mib(usable)
        ))),
        _ if footprint.is_too_long(device) => Ok(Some(
            "one dispatch of this step may take longer than some systems let a GPU work; --micro-batch auto divides it"
                .into(),
        )),
        _ => Ok(None),
    }
}

/// What lets a run go on in less memory than it needs. Its parts may not change, since their sums would round
/// otherwise; what is computed again may.
fn smaller_on_resume(arguments: &Memory<'_>, device: &Device, config: &RunConfig, needs: u64, usable: u64) -> String {
    let passes = config.training.passes();
    let begins =
        format!("this run needs {} of GPU memory; {} has {} for it", mib(needs), device.adapter().name, mib(usable));
    let less = [Recompute::Attention, Recompute::Blocks].into_iter().find_map(|recompute| {
        let needs = footprint(device, &*config.planned_task(), Passes { recompute, ..passes }).ok()?.total();
        (needs <= usable).then_some((recompute, needs))
    });
    if let Some((recompute, needs)) = less {
        return format!("{begins}. Resume with --recompute {recompute}: {}, with the same bits", mib(needs));
    }
    let parts = passes.micro_batches;
    let again = Passes { recompute: Recompute::Blocks, ..passes };
    let other = match fit(device, &*config.planned_task(), again, Some(usable)) {
        Ok(_) => format!(
            "or begin another run from its weights, without its moments: {} --micro-batch auto --recompute blocks",
            from_weights(config, arguments.out, "")
        ),
        Err(_) => "since not even one image at a time fits here".into(),
    };
    format!(
        "{begins}. A resumed run keeps its {parts} parts of {} images, and --recompute blocks does not save enough. \
         Resume on a larger GPU, {other}",
        config.training.micro_batch_size()
    )
}
