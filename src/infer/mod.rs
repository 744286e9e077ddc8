//! What a trained network makes of images.

pub mod encoder;
#[cfg(not(target_arch = "wasm32"))]
pub mod feature_file;
#[cfg(not(target_arch = "wasm32"))]
pub mod features;
#[cfg(not(target_arch = "wasm32"))]
pub mod neighbours;
pub mod network;
