//! Views of pictures: what training and evaluation show a network.
//!
//! [`Views`] makes those of training as an [`Augmentation`] says: crop and scale (or shift), mirror, RandAugment or
//! colour jitter, normalise, erase. [`Mixing`] then mixes the images of a batch with each other. Names are timm's, whose
//! chain it is, and the arithmetic of eight-bit pixels is Pillow's.

mod colour;
mod crop;
mod erase;
mod geometry;
mod jitter;
mod mix;
mod operation;
mod randaugment;
mod scale;
mod view;

pub use {
    crop::{crop_share, evaluation_crop, pad_crop, random_crop, resize_centre},
    mix::{Mix, Mixing, mix, soft_targets},
    operation::Operation,
    randaugment::RandAugment,
    scale::{CropBox, resize, shrink},
    view::{Augmentation, Views},
};
