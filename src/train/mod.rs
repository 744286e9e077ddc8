//! Training: configuration and schedules, the trainer on a device, checkpoints, metrics and verification.

pub mod bench;
pub mod checkpoint;
pub mod config;
pub mod memory;
pub mod metrics;
#[cfg(not(target_arch = "wasm32"))]
pub mod pretrain;
pub mod profile;
pub mod schedule;
pub mod tensors;
mod trainer;
pub mod tune;
pub mod verify;

pub use trainer::{GRADIENTS, MicroBatch, StepResult, Trainer, TrainerOptions, WEIGHTS, work};

/// A clock in seconds; the browser's and the system's differ.
pub type Clock<'a> = &'a dyn Fn() -> f64;
