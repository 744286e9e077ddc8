//! A thread of the loader: from a sample's number to its normalised view.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};

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
    /// A worker panicked.
    Panicked(String),
}

/// What a thread needs to make images.
pub(super) struct Worker {
    pub(super) source: Arc<dyn Source>,
    pub(super) options: LoaderOptions,
    /// How many images of the source may be unreadable.
    pub(super) allowed: usize,
    /// Set when the loader is dropped.
    pub(super) stop: Arc<AtomicBool>,
}

impl Worker {
    /// Does jobs until there are no more or the loader is dropped. A panic in a job becomes its outcome.
    pub(super) fn run(&self, work: &Receiver<Job>, results: &Sender<(u64, Outcome)>) {
        for job in work {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let made = catch_unwind(AssertUnwindSafe(|| self.make(&job)));
            let panicked = |panic: Box<dyn Any + Send>| {
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
                Outcome::Panicked(format!("reading sample {} of epoch {} panicked: {words}", job.sample, job.epoch))
            };
            if results.send((job.position, made.unwrap_or_else(panicked))).is_err() {
                return;
            }
        }
    }

    /// The view of a sample. Where the sample's image is unreadable, random others are tried, as many as may be bad.
    fn make(&self, job: &Job) -> Outcome {
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
