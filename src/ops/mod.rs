//! The operations, one file each: shape rule, gradient, f64 oracle, dispatch and samples.
//!
//! Adding one takes a file here, a shader of the same name and a word in [`samples`](samples()); CONTRIBUTING shows it step by step.

pub mod agreement;
mod assemble_tokens;
mod attention;
mod attention_bias;
mod cast;
pub mod column_sum;
mod copy;
mod divided_product;
mod elementwise;
mod fill_masked;
mod gather_rows;
mod gelu;
mod halved;
mod launch;
mod layer_norm;
mod loss_scale;
mod masked_mse;
mod optimiser;
mod patchify;
mod prelude;
mod product;
mod reshape;
mod sample;
mod samples;
mod slice_rows;

pub use assemble_tokens::AssembleTokens;
pub use attention::{Attention, AttentionBackward};
pub use attention_bias::{AttentionBias, SliceVector};
pub use cast::Cast;
pub use column_sum::ColumnSum;
pub use copy::Copy;
pub(crate) use divided_product::split_k;
pub use elementwise::Elementwise;
pub use fill_masked::{CollectMasked, FillMasked, InvertOrder};
pub use gather_rows::{GatherRows, ScatterRows};
pub use gelu::{Gelu, GeluAndSlope, GeluBackward, TimesSlope};
pub use halved::Halved;
pub use layer_norm::{LayerNorm, LayerNormBackward};
pub use loss_scale::LossScale;
pub use masked_mse::{MaskedMse, MaskedMseAndGradient, MaskedMseBackward};
pub use optimiser::{Accumulate, AdamW, Ema, Run, Settings, SquareSum, added, health};
pub use patchify::Patchify;
pub use product::{FusedProduct, Product};
pub use reshape::Reshape;
pub use sample::{Content, Sample};
pub use samples::samples;
pub use slice_rows::{PadRows, SliceRows};
