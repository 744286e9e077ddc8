//! What a trained network makes of images, and how well that tells classes apart.

pub mod accuracy;
pub mod encoder;
#[cfg(not(target_arch = "wasm32"))]
pub mod feature_file;
#[cfg(not(target_arch = "wasm32"))]
pub mod features;
#[cfg(not(target_arch = "wasm32"))]
pub mod linear_probe;
pub mod neighbours;
pub mod network;
pub mod predictor;
pub mod probe;
pub mod products;
pub mod sets;
pub mod taught;
