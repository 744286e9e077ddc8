//! The network.
pub mod config;
