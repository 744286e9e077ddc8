//! The flags of a run, and the settings that they stand for.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    arguments::AdapterArguments,
    numbers::{MOST, positive, share, whole},
    tuning::TuningArguments,
};
use crate::{
    error::{Error, Result},
    lower::{Precision, Recompute},
    run::stop::parse_time,
};

/// Flags of a run, whatever it trains.
#[derive(Args, Debug)]
pub(super) struct RunArguments {
    /// The run's folder: configuration, metrics and checkpoints. It must be empty, unless --resume or --overwrite is given.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Settings in TOML; flags win over it, it wins over --preset.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Images of an update.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST))]
    pub(super) batch_size: Option<usize>,
    /// Images of one forward and backward pass, a divisor of the batch size; auto takes as many as the GPU's memory allows.
    #[arg(long, value_name = "auto|N")]
    pub(super) micro_batch: Option<String>,
    /// What the backward pass computes again instead of holding it, for larger micro-batches: none, attention or blocks.
    /// The results keep their bits.
    #[arg(long, value_name = "WHAT")]
    pub(super) recompute: Option<Recompute>,
    /// In what precision weights and activations are multiplied and kept: f32, or f16, which takes less memory and, where
    /// the GPU has matrix units, less time. Sums, softmax, losses and the weights themselves stay f32.
    #[arg(long, value_name = "f32|f16")]
    pub(super) precision: Option<Precision>,
    /// Use at most this much GPU memory, instead of nine tenths of what the adapter says it has.
    #[arg(long, value_name = "MIB", value_parser = whole::<u64>(1, MOST >> 20))]
    pub(super) gpu_memory_mib: Option<u64>,
    /// Updates.
    #[arg(long, value_name = "N", conflicts_with = "epochs", value_parser = whole::<u64>(1, MOST))]
    pub(super) steps: Option<u64>,
    /// Passes over the collection.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) epochs: Option<f64>,
    /// The share of images that may be unreadable, 0 to 1 (default 0.01).
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(super) max_bad: Option<f64>,
    /// Decides weights, masks, crops and order: 0 to 2^63 - 1.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0, MOST))]
    pub(super) seed: Option<u64>,
    /// Stop after this many updates of the run, with a checkpoint to resume from.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, MOST))]
    pub(super) stop_after: Option<u64>,
    /// Stop after this time, with a checkpoint to resume from: 8h, 30m, 90s, 1h30m.
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    pub(super) time_limit: Option<Duration>,
    #[command(flatten)]
    pub(super) adapter: AdapterArguments,
    #[command(flatten)]
    pub(super) tuning: TuningArguments,
    /// Continue the run in the folder from its newest complete checkpoint, or from the checkpoint at PATH; without any
    /// checkpoint yet, start from the beginning.
    #[arg(long, value_name = "auto|PATH", num_args = 0..=1, default_missing_value = "auto", conflicts_with = "overwrite")]
    pub(super) resume: Option<String>,
    /// Go on with a collection whose images are others, or in another order, than when the run began.
    #[arg(long, requires = "resume")]
    pub(super) allow_changed_data: bool,
    /// Remove the run in the folder and start from the beginning.
    #[arg(long)]
    pub(super) overwrite: bool,
    /// Say what would run, and write nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// In what order the gradients of an update's passes are added up: sequence, or tree, with which 1, 2, 4 and 8 processes
    /// (mpirun, srun) end with equal bits.
    #[arg(long, value_name = "sequence|tree", value_parser = ["sequence", "tree"])]
    pub(super) reduction: Option<String>,
    /// Of several processes: send gradients as f32, or as f16, which halves the traffic.
    #[arg(long, value_name = "f32|f16", value_parser = ["f32", "f16"])]
    pub(super) wire: Option<String>,
    /// Of several processes (mpirun, srun): let those of a machine share its GPUs where it has fewer.
    #[arg(long)]
    pub(super) share_adapter: bool,
    /// Of several processes: seconds to wait for another one before the job ends with its name.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = whole::<u64>(1, 86_400))]
    pub(super) watchdog: u64,
    /// Steps between two checkpoints.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, MOST))]
    pub(super) save_every: Option<u64>,
    /// Checkpoints kept.
    #[arg(long, value_name = "K", value_parser = whole::<usize>(1, MOST))]
    pub(super) keep: Option<usize>,
}

impl RunArguments {
    /// The number of micro-batches that the flag asks for; none where it is left to the GPU's memory.
    pub(super) fn micro_batches(&self, batch: usize) -> Result<Option<usize>> {
        let Some(text) = self.micro_batch.as_deref().filter(|text| *text != "auto") else { return Ok(None) };
        match text.parse::<usize>() {
            Ok(size) if size > 0 && batch.is_multiple_of(size) => Ok(Some(batch / size)),
            _ => Err(Error::Config(format!(
                "--micro-batch is auto or a divisor of the batch size {batch}, not `{text}`"
            ))),
        }
    }

    /// The flags as a configuration, with the images' source.
    pub(super) fn flags(&self, source: Option<&str>) -> toml::Table {
        let mut training = toml::Table::new();
        let mut set = |key: &str, value: Option<toml::Value>| {
            value.and_then(|value| training.insert(key.into(), value));
        };
        set("batch_size", self.batch_size.map(|n| (n as i64).into()));
        set("steps", self.steps.map(|n| (n as i64).into()));
        set("epochs", self.epochs.map(Into::into));
        set("recompute", self.recompute.map(|what| what.to_string().into()));
        set("precision", self.precision.map(|what| what.to_string().into()));
        set("reduction", self.reduction.clone().map(Into::into));
        set("wire", self.wire.clone().map(Into::into));
        set("seed", self.seed.map(|n| (n as i64).into()));
        set("save_every_steps", self.save_every.map(|n| (n as i64).into()));
        set("keep_checkpoints", self.keep.map(|n| (n as i64).into()));
        let source = source.iter().map(|source| ("source".to_string(), (*source).into()));
        let max_bad = self.max_bad.iter().map(|&share| ("max_bad_fraction".to_string(), share.into()));
        toml::Table::from_iter([
            ("training".to_string(), training.into()),
            ("data".to_string(), toml::Table::from_iter(source.chain(max_bad)).into()),
        ])
    }
}
