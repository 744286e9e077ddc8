//! Images: where they come from, how they are decoded, cut and scaled, and how batches are made ahead of the GPU.
//!
//! A [`Source`] is a numbered collection. [`open`] makes one from what a user names: a folder, tar archives, parquet
//! files, arrays, CIFAR. [`Loader`] turns it into batches on worker threads. What a batch holds is a function of the
//! seed and of the batch's number alone. In a browser the page decodes its own pictures, so only [`Picture`] and
//! [`augment`](mod@augment) exist there.

pub mod augment;
mod convolve;
mod picture;

pub use picture::Picture;

#[cfg(not(target_arch = "wasm32"))]
mod allocator;
#[cfg(not(target_arch = "wasm32"))]
mod check;
#[cfg(not(target_arch = "wasm32"))]
mod cifar;
#[cfg(not(target_arch = "wasm32"))]
mod decode;
#[cfg(not(target_arch = "wasm32"))]
mod each;
#[cfg(not(target_arch = "wasm32"))]
mod folder;
#[cfg(not(target_arch = "wasm32"))]
mod idx;
#[cfg(not(target_arch = "wasm32"))]
mod joined;
#[cfg(not(target_arch = "wasm32"))]
mod loader;
#[cfg(not(target_arch = "wasm32"))]
mod names;
#[cfg(not(target_arch = "wasm32"))]
mod npy;
#[cfg(not(target_arch = "wasm32"))]
mod order;
#[cfg(not(target_arch = "wasm32"))]
mod pack;
#[cfg(not(target_arch = "wasm32"))]
mod palette_tiff;
#[cfg(not(target_arch = "wasm32"))]
mod parquet;
#[cfg(not(target_arch = "wasm32"))]
mod places;
#[cfg(not(target_arch = "wasm32"))]
mod rate;
#[cfg(not(target_arch = "wasm32"))]
mod records;
#[cfg(not(target_arch = "wasm32"))]
mod source;
#[cfg(not(target_arch = "wasm32"))]
mod tar;
#[cfg(not(target_arch = "wasm32"))]
mod worker;

#[cfg(not(target_arch = "wasm32"))]
pub use {
    check::{Contents, Duplicate, Unreadable, check},
    decode::{Decoded, MAX_BYTES, MAX_SIDE, decode, decode_bytes},
    loader::{Batch, Loader, LoaderOptions, enough_for},
    order::permutation,
    pack::{Packed, pack},
    rate::{Rate, rate},
    source::{Locality, Source, Stored, open},
};
