//! Whether a device computes rightly: operations against the oracle, whole steps against fixtures.

mod compare;
mod finetune;
pub mod fixture;
mod names;
pub mod selection;
pub mod self_test;
pub mod verify;
