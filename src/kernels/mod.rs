//! Kernels as the Rust side sees them: a shader's text, its parameters and bindings (both written by `build.rs` from
//! the WGSL), and how a text becomes the one that the driver compiles.

mod class;
mod kernel;
mod phrases;
pub mod specialise;
pub mod table;
mod tuning;
pub mod variants;
mod work;

pub use class::{Class, Size};
pub use kernel::{Binding, Constant, Kernel};
pub use table::{Adapters, Feature, Row, TABLE};
pub use tuning::{ByType, Matmuls, SingleShape, Tuning};
pub use variants::{AttentionVariant, Epilogue, Form, LayerNormVariant, LossVariant, OptimiserVariant, Tile, Variant};
pub use work::Work;
pub(crate) use work::inner;

include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// A number that changes with the text of any shader (FNV-1a).
pub fn fingerprint() -> u64 {
    let bytes = ALL.iter().flat_map(|kernel| [kernel.name, kernel.entry, kernel.source]).flat_map(str::bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
