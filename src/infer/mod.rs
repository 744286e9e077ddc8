//! What a trained network makes of images, and how well that tells classes apart.

#[cfg(not(target_arch = "wasm32"))]
pub mod accuracy;
pub mod encoder;
#[cfg(not(target_arch = "wasm32"))]
pub mod feature_file;
#[cfg(not(target_arch = "wasm32"))]
pub mod features;
#[cfg(not(target_arch = "wasm32"))]
pub mod linear_probe;
#[cfg(not(target_arch = "wasm32"))]
pub mod neighbours;
pub mod network;
pub mod predictor;
#[cfg(not(target_arch = "wasm32"))]
pub mod probe;
#[cfg(not(target_arch = "wasm32"))]
pub mod products;
#[cfg(not(target_arch = "wasm32"))]
pub mod sets;
