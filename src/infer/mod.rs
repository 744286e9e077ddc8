//! What a trained network makes of images.

pub mod encoder;
#[cfg(not(target_arch = "wasm32"))]
pub mod linear_probe;
#[cfg(not(target_arch = "wasm32"))]
pub mod neighbours;
pub mod network;
pub mod predictor;
#[cfg(not(target_arch = "wasm32"))]
pub mod products;
