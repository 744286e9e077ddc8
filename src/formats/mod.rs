//! Formats of files that hold tensors.

pub mod foreign;
mod header;
#[cfg(not(target_arch = "wasm32"))]
pub mod npy;
#[cfg(not(target_arch = "wasm32"))]
pub mod onnx;
#[cfg(not(target_arch = "wasm32"))]
pub mod parquet;
pub mod tensors;
pub(crate) mod told;
pub mod weights;
