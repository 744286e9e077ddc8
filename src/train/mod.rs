//! Training: configuration and schedules, the trainer on a device, checkpoints, metrics and verification.

pub mod checkpoint;
pub mod config;
pub mod metrics;
pub mod schedule;
pub mod tensors;
mod trainer;
pub mod verify;

pub use trainer::{GRADIENTS, MicroBatch, StepResult, Trainer, TrainerOptions, WEIGHTS};
