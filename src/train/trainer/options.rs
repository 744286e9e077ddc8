//! How a trainer is made.

use super::super::config::Reduction;
use crate::{
    kernels::Tuning,
    lower::{PlanOptions, Precision, Recompute},
};

/// How a [`Trainer`](super::Trainer) is made.
#[derive(Clone, Debug)]
pub struct TrainerOptions {
    /// Images of one forward and backward pass.
    pub micro_batch: usize,
    /// Passes here whose gradients add up to one update.
    pub micro_batches: usize,
    /// Processes with as many passes each, whose gradients add up to one update.
    pub ranks: usize,
    /// In what order these gradients are added up.
    pub reduction: Reduction,
    /// Kernel variants.
    pub tuning: Tuning,
    /// Keep predictions and targets readable after a step, for verification.
    pub inspect: bool,
    /// Run every operation by itself, to tell a fusion's mistake from a kernel's.
    pub no_fusion: bool,
    /// What the backward pass computes again, to hold less.
    pub recompute: Recompute,
    /// In what precision matmuls read their operands.
    pub precision: Precision,
}

impl TrainerOptions {
    /// Passes of `micro_batch` images, `micro_batches` an update, with everything else as in training.
    pub fn new(micro_batch: usize, micro_batches: usize, tuning: Tuning) -> TrainerOptions {
        TrainerOptions {
            micro_batch,
            micro_batches,
            ranks: 1,
            reduction: Reduction::Sequence,
            tuning,
            inspect: false,
            no_fusion: false,
            recompute: Recompute::None,
            precision: Precision::F32,
        }
    }

    /// Passes whose gradients add up to one update, of all processes.
    pub fn passes(&self) -> usize {
        self.micro_batches * self.ranks
    }

    /// Whether the passes here are added up as a tree. Of two there is one order only.
    pub(super) fn adds_as_tree(&self) -> bool {
        self.reduction == Reduction::Tree && self.micro_batches > 2
    }

    /// Whether passes are added up by plans of their own, not by the pass's.
    pub(super) fn adds_apart(&self) -> bool {
        self.micro_batches > 1 && (self.ranks > 1 || self.adds_as_tree())
    }

    pub(super) fn plan(&self) -> PlanOptions {
        let TrainerOptions { no_fusion, recompute, precision, .. } = *self;
        PlanOptions { tuning: self.tuning.clone(), no_fusion, recompute, precision, ..Default::default() }
    }
}
