//! Checkpoints of other programs as models of this one: BootMAE's and MAE's own, timm's, DeiT's, Hugging Face's.
//!
//! A file is material from outside: its tensors alone say how large a network is, what is said beside them must agree, and a
//! tensor that is not understood is an error, since without it the network might be another one.

#[cfg(not(target_arch = "wasm32"))]
pub mod about;
mod asked;
#[cfg(not(target_arch = "wasm32"))]
pub mod export;
#[cfg(not(target_arch = "wasm32"))]
mod files;
mod import;
mod known;
mod listing;
mod opened;
mod plan;
mod positions;
mod settings;
mod sizes;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
pub mod worlds;

use crate::formats::weights::WeightFile;

pub use asked::{Asked, Imported};
pub use known::{Beside, Description};
pub use opened::Opened;
pub use worlds::World;
#[cfg(not(target_arch = "wasm32"))]
pub use {
    about::About,
    files::{about, open},
};

/// Whether a file that begins so can be of weights of another program: torch's zip or pickle, or safetensors.
fn may_be_foreign(start: &[u8]) -> bool {
    matches!(start, [b'P', b'K', 3, 4, ..] | [0x80, 2, ..]) || start.get(8) == Some(&b'{')
}

/// Whether this program wrote it in a format of its own.
fn is_own(file: &WeightFile) -> bool {
    file.metadata().get("format").is_some_and(|format| format.starts_with("bootmae"))
}
