//! Whether a device computes rightly: operations against the oracle.

pub mod selection;
pub mod self_test;
