//! From a recorded graph to a plan: half precision, fusion, split-K and activation checkpointing as passes over the
//! graph, then plain data, a list of dispatches over numbered buffers. Models and gradients know nothing of it.

mod fusion;
mod half_precision;
mod plan;
mod recompute;
mod split_k;
mod storage;

pub use plan::{Fetch, Plan, PlanOptions, Planned, Range, Storage};
pub use recompute::Recompute;

pub use crate::shape::Precision;
