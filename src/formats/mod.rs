//! Formats of files that hold tensors.

pub mod tensors;
