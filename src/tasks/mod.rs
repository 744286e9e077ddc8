//! What training can be for: each task names its parameters, records its loss and says what the host writes for a batch.
//! Arenas, optimiser, submits, readback and recovery are the trainer's, whatever the task.

mod classify;
mod pretrain;
mod scalars;
mod task;

pub use classify::Classify;
pub use pretrain::{Masked, Pretrain};
pub use scalars::Scalars;
pub(crate) use task::Read;
pub use task::{Average, Inputs, MicroBatch, Objective, Scalar, Task};
