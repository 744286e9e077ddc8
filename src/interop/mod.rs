//! Weights of this program for others.

pub mod export;
