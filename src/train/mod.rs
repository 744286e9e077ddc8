//! Training: configuration and schedules, the trainer on a device, the loop, and the state of a run in memory.

pub mod bench;
pub mod config;
pub mod images;
pub mod memory;
pub mod metrics;
mod pace;
pub mod profile;
pub mod schedule;
pub mod snapshot;
mod stragglers;
pub mod team;
mod trainer;
pub mod training;
pub mod tune;

pub use stragglers::Slowest;
pub use trainer::{BUCKET, GRADIENTS, StateCopy, StepResult, Trainer, TrainerOptions, WEIGHTS, work};

/// A clock in seconds; the browser's and the system's differ.
pub type Clock<'a> = &'a dyn Fn() -> f64;
