//! Training: configuration and schedules, the trainer on a device, checkpoints, metrics and verification.

pub mod bench;
pub mod checkpoint;
pub mod config;
#[cfg(not(target_arch = "wasm32"))]
pub mod curves;
#[cfg(not(target_arch = "wasm32"))]
pub mod durable;
#[cfg(not(target_arch = "wasm32"))]
pub mod events;
pub mod images;
#[cfg(not(target_arch = "wasm32"))]
pub mod log;
pub mod memory;
pub mod metrics;
#[cfg(not(target_arch = "wasm32"))]
pub mod names;
pub mod network;
#[cfg(not(target_arch = "wasm32"))]
pub mod picture;
#[cfg(not(target_arch = "wasm32"))]
pub mod pretrain;
pub mod profile;
#[cfg(not(target_arch = "wasm32"))]
pub mod record;
#[cfg(not(target_arch = "wasm32"))]
pub mod run_folder;
#[cfg(not(target_arch = "wasm32"))]
pub mod samples;
#[cfg(not(target_arch = "wasm32"))]
pub mod saver;
pub mod schedule;
pub mod snapshot;
#[cfg(not(target_arch = "wasm32"))]
pub mod stop;
pub mod tensors;
mod trainer;
pub mod training;
pub mod tune;
pub mod verify;
#[cfg(not(target_arch = "wasm32"))]
pub mod written;

pub use trainer::{GRADIENTS, StateCopy, StepResult, Trainer, TrainerOptions, WEIGHTS, work};

/// A clock in seconds; the browser's and the system's differ.
pub type Clock<'a> = &'a dyn Fn() -> f64;
