//! The loader's work: from a sample's number to its normalised view.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::LoaderOptions;
use super::augment::augment;
use super::source::Source;
use crate::rng::{Rng, Stream};

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
            (index, view.normalise())
        });
        Outcome::Made { epoch, sample, view, bad }
    }
}
