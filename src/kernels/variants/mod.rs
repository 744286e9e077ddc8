//! The kernel variants: in how many ways a matrix product, attention and layer normalisation can be computed, and which
//! entry point each way is.

mod attention;
mod layer_norm;
mod matmul;
mod text;
mod variant;

pub(crate) use attention::Part;
pub use attention::Rows;
pub use layer_norm::NormRows;
pub use matmul::{Epilogue, Form, Tile};
pub use variant::Variant;
