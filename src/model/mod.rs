//! The network: its configuration, parameters, masks and recorded step.

mod bootmae;
pub mod config;
mod feature_map;
mod inventory;
pub mod masking;
mod reconstruct;

pub use bootmae::{FeatureBranch, Recorded, inputs, position_tables, record};
pub use config::ModelConfig;
pub use feature_map::Features;
pub use inventory::inventory;
pub use reconstruct::{Begun, Reconstruction, Reconstructor, Weights};
