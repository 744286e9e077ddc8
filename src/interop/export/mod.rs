//! A trained network as files that other programs open.

pub mod onnx;
mod preprocessing;
mod source;

pub use preprocessing::preprocessor;
pub use source::Source;
