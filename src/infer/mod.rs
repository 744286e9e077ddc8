//! What a trained network makes of images.

pub mod network;
