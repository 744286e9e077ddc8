//! The loader's work: from a sample's number to its normalised view.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Normalisation;
use super::augment::augment;
use super::source::Source;
use crate::rng::{Rng, Stream};

/// How a [`Loader`] makes batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Images in a batch.
    pub batch_size: usize,
    /// Rows of an image in pixels.
    pub height: usize,
    /// Columns of an image in pixels.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
    /// How pixels become numbers.
    pub normalise: Normalisation,
    /// Decides the order of the samples and their crops.
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

impl Default for LoaderOptions {
    /// 64 RGB images of 224×224, two batches ahead, at most 1 % unreadable, one thread per processor.
    fn default() -> LoaderOptions {
        LoaderOptions {
            batch_size: 64,
            height: 224,
            width: 224,
            channels: 3,
            normalise: Normalisation::INCEPTION,
            seed: 0,
            threads: 0,
            prefetch: 2,
            max_bad_fraction: 0.01,
            left_out: BTreeSet::new(),
        }
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
        let view = picture.map(|picture| {
            let view = augment(&picture, self.options.height, self.options.width, &mut rng(Stream::Augment));
            (index, view.normalise(&self.options.normalise))
        });
        Outcome::Made { epoch, sample, view, bad }
    }
}
