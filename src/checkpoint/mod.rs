//! A snapshot as a folder of files, complete exactly when its manifest says so.
//!
//! | file | holds |
//! |---|---|
//! | `model.safetensors` | the student's weights under timm's names, with step and configuration in its metadata |
//! | `teacher.safetensors` | the momentum encoder's weights, where there is a feature branch |
//! | `optimizer.safetensors` | AdamW's moments, `moment1/NAME` and `moment2/NAME` |
//! | `state.json` | step, configuration, adapter, kernel variants, images left out, and what the images were |
//! | `MANIFEST.json` | format, version, and length and BLAKE3 hash of each file; written last |
//!
//! All tensors are F32. Equal snapshots give equal bytes. The same files in memory are a [`Bundle`], which a page saves
//! and opens as a tar archive.

mod bundle;
mod files;
#[cfg(not(target_arch = "wasm32"))]
mod folder;
mod manifest;
#[cfg(not(target_arch = "wasm32"))]
pub mod names;
#[cfg(not(target_arch = "wasm32"))]
mod open;
#[cfg(not(target_arch = "wasm32"))]
pub mod record;
mod single;
#[cfg(not(target_arch = "wasm32"))]
mod store;
mod weights;
mod whole;

pub use crate::formats::foreign::what_it_is;
pub use bundle::Bundle;
pub use files::{CHECKPOINT_FILES, MODEL_FILE, SINGLE_FILE, VERSION};
pub use weights::{Model, weights};
#[cfg(not(target_arch = "wasm32"))]
pub use {
    folder::{is_at, read, write},
    open::{read_any, read_model},
    store::{Checkpoints, Found},
};
