//! Images: where they come from, how they are decoded, cut and scaled, and how batches are made ahead of the GPU.
//!
//! A [`Source`] is a numbered collection. [`open`] makes one from what a user names: a folder, tar archives, parquet
//! files, arrays, CIFAR. [`Loader`] turns it into batches on worker threads. What a batch holds is a function of the
//! seed and of the batch's number alone. In a browser there are neither files nor threads: a collection is what the page
//! hands over ([`Images`]), and [`Loader`] makes each batch when it is asked for it.

pub mod augment;
mod collection;
mod companions;
mod convolve;
mod decode;
#[cfg(not(target_arch = "wasm32"))]
mod endings;
mod hold_out;
mod labels;
mod layout;
mod loader;
mod makers;
mod memory;
mod names;
mod normalisation;
mod order;
mod passed;
mod picture;
mod source;
mod worker;

pub use {
    collection::Collection,
    decode::{Decoded, MAX_BYTES, MAX_SIDE, decode_bytes},
    hold_out::Division,
    labels::{Classes, Labels},
    loader::{Batch, Loader, enough_for},
    memory::Images,
    normalisation::Normalisation,
    order::permutation,
    passed::PassedOver,
    picture::Picture,
    source::{Locality, Source, Stored},
    worker::{LoaderOptions, Share},
};

pub(crate) use hold_out::hold_out;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use {each::each, labelled::matched};

#[cfg(not(target_arch = "wasm32"))]
mod allocator;
#[cfg(not(target_arch = "wasm32"))]
mod check;
#[cfg(not(target_arch = "wasm32"))]
mod cifar;
#[cfg(not(target_arch = "wasm32"))]
mod each;
#[cfg(not(target_arch = "wasm32"))]
mod entries;
#[cfg(not(target_arch = "wasm32"))]
mod folder;
#[cfg(not(target_arch = "wasm32"))]
mod idx;
#[cfg(not(target_arch = "wasm32"))]
mod joined;
#[cfg(not(target_arch = "wasm32"))]
mod labelled;
#[cfg(not(target_arch = "wasm32"))]
mod look;
#[cfg(not(target_arch = "wasm32"))]
mod npy;
#[cfg(not(target_arch = "wasm32"))]
mod open;
#[cfg(not(target_arch = "wasm32"))]
mod pack;
#[cfg(not(target_arch = "wasm32"))]
mod parquet;
#[cfg(not(target_arch = "wasm32"))]
mod part;
#[cfg(not(target_arch = "wasm32"))]
mod places;
#[cfg(not(target_arch = "wasm32"))]
mod rate;
#[cfg(not(target_arch = "wasm32"))]
mod records;
#[cfg(not(target_arch = "wasm32"))]
mod sides;
#[cfg(not(target_arch = "wasm32"))]
mod splits;
#[cfg(not(target_arch = "wasm32"))]
mod subset;
#[cfg(not(target_arch = "wasm32"))]
mod tar;
#[cfg(not(target_arch = "wasm32"))]
mod walk;

#[cfg(not(target_arch = "wasm32"))]
pub use {
    check::{ClassImages, Contents, Duplicate, Unreadable, check},
    decode::decode,
    labelled::{LabelOptions, Labelled, Side, labelled},
    open::{is_same_place, open, open_beside},
    pack::{Packed, pack},
    part::{Chosen, Part, chosen},
    rate::{Rate, rate},
};
