//! The network: its configuration, parameters, masks and recorded step.

mod bootmae;
mod classifier;
mod components;
pub mod config;
mod feature_map;
mod fill;
mod inventory;
pub mod masking;
mod pixel_order;
mod reconstruct;
mod teacher;

pub use bootmae::{FeatureBranch, Predicted, Recorded, embed, inputs, position_tables, predict, record, teach};
pub use classifier::{Classified, ClassifierConfig, Pool, classifier_inputs, classify, of_encoder};
pub use components::{Component, components};
pub use config::ModelConfig;
pub use feature_map::{Features, Whose};
pub use fill::smooth;
pub use inventory::{inventory, of_decoder};
pub use pixel_order::{channels_first, channels_last};
pub(crate) use reconstruct::WEIGHTS;
pub use reconstruct::{Begun, Reconstruction, Reconstructor, Statistics, Weights};
pub use teacher::{BegunFeatures, Teacher};
