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
mod elementwise;
mod fill_masked;
mod gather_rows;
mod gelu;
mod launch;
mod layer_norm;
mod loss_scale;
mod masked_mse;
mod matmul;
mod optimiser;
mod patchify;
mod pool_tokens;
mod prelude;
mod reshape;
mod sample;
mod samples;
mod scale_images;
mod slice_rows;
mod soft_cross_entropy;
mod split_k;
mod stores_f16;

pub use assemble_tokens::AssembleTokens;
pub use attention::{Attention, AttentionBackward};
pub use attention_bias::{AttentionBias, SliceVector};
pub use cast::Cast;
pub use column_sum::ColumnSum;
pub use copy::Copy;
pub use elementwise::Elementwise;
pub use fill_masked::{CollectMasked, FillMasked, InvertOrder};
pub use gather_rows::{GatherRows, ScatterRows};
pub use gelu::{Gelu, GeluAndSlope, GeluBackward, TimesSlope};
pub use layer_norm::{LayerNorm, LayerNormBackward};
pub use loss_scale::LossScale;
pub use masked_mse::{MaskedMse, MaskedMseAndGradient, MaskedMseBackward};
pub use matmul::{FusedMatmul, Matmul};
pub use optimiser::{Accumulate, AdamW, Ema, Run, Settings, SquareSum, added, health};
pub use patchify::Patchify;
pub use pool_tokens::{PoolTokens, SpreadTokens};
pub use reshape::Reshape;
pub use sample::{Content, Sample};
pub use samples::samples;
pub use scale_images::ScaleImages;
pub use slice_rows::{PadRows, SliceRows};
pub use soft_cross_entropy::{Accuracy, SoftCrossEntropy, SoftCrossEntropyBackward};
pub(crate) use split_k::split_k;
pub use stores_f16::StoresF16;
