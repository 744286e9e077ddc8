//! The kernel variants: in how many ways a matmul, attention and layer normalisation can be computed, and which
//! entry point each way is.

mod attention;
mod layer_norm;
mod matmul;
mod others;
mod text;
mod variant;

pub use attention::AttentionVariant;
pub(crate) use attention::Part;
pub use layer_norm::LayerNormVariant;
pub use matmul::{Epilogue, Form, Tile};
pub use others::{LossVariant, OptimiserVariant};
pub use variant::Variant;
