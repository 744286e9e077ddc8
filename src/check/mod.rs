//! Whether a device computes rightly: operations against the oracle, whole steps and classifiers against fixtures.

#[cfg(not(target_arch = "wasm32"))]
pub mod classify;
pub mod compare;
mod finetune;
pub mod fixture;
pub mod interop;
mod names;
pub mod selection;
pub mod self_test;
pub mod verify;
