//! The loader's work: from a sample's number to its normalised view.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Normalisation;
use super::augment::{Augmentation, Views};
use super::source::Source;
use crate::error::{Error, Result};
use crate::rng::{Rng, Stream};

/// How a [`Loader`](super::Loader) makes batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Images in a batch.
    pub batch_size: usize,
    /// The part of every batch that is made.
    pub share: Share,
    /// Rows of an image in pixels.
    pub height: usize,
    /// Columns of an image in pixels.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
    /// What is changed at random in an image.
    pub augmentation: Augmentation,
    /// How pixels become numbers.
    pub normalise: Normalisation,
    /// Decides the order of the samples and what is changed in them.
    pub seed: u64,
    /// Threads that decode and crop; 0 for as many as the machine has processors.
    pub threads: usize,
    /// Batches made ahead; 0 makes each when it is asked for.
    pub prefetch: usize,
    /// The share of the collection that may be unreadable, 0 to 1. Unless it is 0, one image always may.
    pub max_bad_fraction: f64,
    /// Numbers of images to leave out, replaced like unreadable ones but neither counted nor named.
    pub left_out: BTreeSet<usize>,
}

/// One of several equal parts of every batch: of slots that follow one another, as many as the batch has for each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which part, from 0.
    pub part: usize,
    /// How many there are.
    pub of: usize,
}

impl Share {
    /// All of a batch.
    pub const WHOLE: Share = Share { part: 0, of: 1 };

    /// The positions in the sequence of samples that are made for batch number `batch` of `size` images.
    pub(super) fn positions(self, batch: u64, size: usize) -> std::ops::Range<u64> {
        let (start, slots) = (batch * size as u64, (size / self.of) as u64);
        let from = start + self.part as u64 * slots;
        from..from + slots
    }
}

impl Default for LoaderOptions {
    /// 64 RGB images of 224×224, cropped and mirrored as in pre-training, two batches ahead, at most 1 % unreadable, one thread per processor.
    fn default() -> LoaderOptions {
        LoaderOptions {
            batch_size: 64,
            share: Share::WHOLE,
            height: 224,
            width: 224,
            channels: 3,
            augmentation: Augmentation::pretraining(),
            normalise: Normalisation::INCEPTION,
            seed: 0,
            threads: 0,
            prefetch: 2,
            max_bad_fraction: 0.01,
            left_out: BTreeSet::new(),
        }
    }
}

impl LoaderOptions {
    /// What makes the views. Refuses options out of range.
    pub(super) fn views(&self) -> Result<Views> {
        let &LoaderOptions { batch_size, height, width, channels, max_bad_fraction, share, .. } = self;
        let fail = |reason: String| Err(Error::Config(reason));
        if share.part >= share.of || !batch_size.is_multiple_of(share.of) {
            return fail(format!("a batch of {batch_size} images has no part {} of {}", share.part, share.of));
        }
        if batch_size == 0 || height == 0 || width == 0 {
            return fail(format!("a batch of {batch_size} images of {height}×{width} pixels is empty"));
        }
        if !(1..=4).contains(&channels) {
            return fail(format!("channels must be 1 to 4, not {channels}"));
        }
        if !(0.0..=1.0).contains(&max_bad_fraction) {
            return fail(format!("the share of unreadable images must be 0 to 1, not {max_bad_fraction}"));
        }
        Views::new(&self.augmentation, self.normalise, channels, height, width).map_err(Error::Config)
    }
}

/// One image to make.
pub(super) struct Job {
    pub(super) position: u64,
    pub(super) epoch: u64,
    pub(super) sample: usize,
}

/// What became of a job.
pub(super) enum Outcome {
    /// The view of the sample, or none if too many images tried for it are unreadable; and those.
    Made { epoch: u64, sample: usize, view: Option<(usize, Vec<f32>)>, bad: BTreeMap<usize, String> },
    /// The worker panicked.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "a panic ends the program there"))]
    Panicked(String),
}

/// What it takes to make images.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) source: Arc<dyn Source>,
    pub(super) options: LoaderOptions,
    /// Makes the views that `options` says.
    pub(super) views: Views,
    /// How many images of the source may be unreadable.
    pub(super) allowed: usize,
}

impl Worker {
    /// The view of a sample. Where the sample's image is unreadable, random others are tried, as many as may be bad.
    pub(super) fn make(&self, job: &Job) -> Outcome {
        let &Job { epoch, sample, .. } = job;
        let len = self.source.len();
        let rng = |stream| Rng::new(self.options.seed, stream, epoch, sample as u64);
        let mut replacements = rng(Stream::Replace);
        let left_out = &self.options.left_out;
        let mut bad = BTreeMap::new();
        let mut index = sample;
        let picture = loop {
            if !left_out.contains(&index) {
                match self.source.load(index, self.options.channels) {
                    Ok(picture) => break Some(picture),
                    Err(reason) => bad.insert(index, reason),
                };
            }
            if bad.len() > self.allowed || bad.len() + left_out.len() >= len {
                break None;
            }
            while bad.contains_key(&index) || left_out.contains(&index) {
                index = replacements.below(len);
            }
        };
        let view = picture.map(|picture| (index, self.views.make(&picture, &mut rng(Stream::Augment))));
        Outcome::Made { epoch, sample, view, bad }
    }
}
