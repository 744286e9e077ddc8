//! Batches, made ahead of the GPU.
//!
//! Slot b of batch k is position k·B + b of an endless sequence: the collection in a random order, then in another one,
//! and so on. The order of an epoch, the crop of a sample in it and what stands in for an unreadable image are each a
//! function of the seed, the epoch and the sample's number. So batches do not depend on the number of threads, and a
//! loader that starts at batch k gives what an uninterrupted one would.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::augment::Views;
use super::makers::Makers;
use super::order::EpochOrder;
use super::source::Source;
use super::worker::{Job, LoaderOptions, Outcome, Worker};
use crate::error::{Error, Result};
use crate::text::shown;

/// The images of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[images, channels, height, width]`, as many as the batch or the loader's share of it has; see [`Picture::normalise`](super::Picture::normalise).
    pub images: Vec<f32>,
    /// For each image the epoch and the sample's number in the source: what its mask depends on too.
    pub samples: Vec<(u64, usize)>,
    /// For each image the number in the source of the image that was read: the sample's own, unless that is unreadable.
    pub shown: Vec<usize>,
    /// The images newly found unreadable, each with the reason; an image is named once in a loader's life.
    pub bad: Vec<String>,
}

/// An endless iterator of batches. Dropping it stops its threads.
pub struct Loader {
    source: Arc<dyn Source>,
    options: LoaderOptions,
    allowed: usize,
    order: EpochOrder,
    next_batch: u64,
    /// The first batch that no job was handed out for.
    requested: u64,
    waiting: HashMap<u64, Outcome>,
    bad: BTreeMap<usize, String>,
    failure: Option<String>,
    makers: Makers,
}

impl Loader {
    /// Starts its threads; the first batch of [`Loader::next`] is number `first_batch`.
    ///
    /// # Errors
    /// [`Error::Config`] for options out of range, [`Error::Images`] for a source with fewer images than a batch or
    /// with 2³² or more.
    pub fn new(source: Arc<dyn Source>, options: LoaderOptions, first_batch: u64) -> Result<Loader> {
        let len = source.len();
        let views = check(&options, &*source, first_batch)?;
        let allowed = match options.max_bad_fraction {
            0.0 => 0,
            fraction => ((fraction * len as f64) as usize).max(1),
        };
        let worker = Worker { source: source.clone(), options: options.clone(), views, allowed };
        let order = EpochOrder::new(options.seed, len, source.locality());
        let mut loader = Loader {
            source,
            allowed,
            order,
            next_batch: first_batch,
            requested: first_batch,
            waiting: HashMap::new(),
            bad: BTreeMap::new(),
            failure: None,
            makers: Makers::start(&worker, options.threads)?,
            options,
        };
        loader.request(loader.options.prefetch as u64);
        Ok(loader)
    }

    /// Hands out jobs until all images of the next `batches` batches are asked for. This bounds what is in memory.
    fn request(&mut self, batches: u64) {
        let end = self.next_batch + batches;
        let (share, size) = (self.options.share, self.options.batch_size);
        for position in (self.requested..end).flat_map(|batch| share.positions(batch, size)) {
            let (epoch, sample) = self.order.sample(position);
            self.makers.request(Job { position, epoch, sample });
        }
        self.requested = self.requested.max(end);
    }

    /// Waits for the next batch, and sets the threads to work on those after it.
    ///
    /// # Errors
    /// [`Error::Images`] when more images than allowed are unreadable, naming some, or when a thread failed. The loader
    /// then gives the same error again.
    #[expect(clippy::should_implement_trait, reason = "a batch can fail and the sequence has no end")]
    pub fn next(&mut self) -> Result<Batch> {
        if self.failure.is_none() {
            match self.collect() {
                Ok(batch) => return Ok(batch),
                Err(reason) => self.failure = Some(reason),
            }
        }
        Err(Error::Images(self.failure.clone().unwrap_or_default()))
    }

    fn collect(&mut self) -> Result<Batch, String> {
        self.request(1);
        let values = self.options.channels * self.options.height * self.options.width;
        let mut batch = Batch {
            images: Vec::with_capacity(self.options.batch_size / self.options.share.of * values),
            samples: Vec::new(),
            shown: Vec::new(),
            bad: Vec::new(),
        };
        for position in self.options.share.positions(self.next_batch, self.options.batch_size) {
            let Outcome::Made { epoch, sample, view, bad } = self.outcome(position)? else { unreachable!("no panic") };
            for (index, reason) in bad {
                let name = format!("{}: {}", shown(&self.source.name(index)), shown(&reason));
                if self.bad.insert(index, name.clone()).is_none() {
                    batch.bad.push(name);
                }
            }
            let Some((shown, image)) = view.filter(|_| self.bad.len() <= self.allowed) else {
                return Err(self.too_many_bad());
            };
            batch.images.extend(image);
            batch.samples.push((epoch, sample));
            batch.shown.push(shown);
        }
        self.next_batch += 1;
        self.request(self.options.prefetch as u64);
        Ok(batch)
    }

    /// The outcome at a position, keeping those of later positions that arrive before it.
    fn outcome(&mut self, position: u64) -> Result<Outcome, String> {
        loop {
            if let Some(outcome) = self.waiting.remove(&position) {
                return Ok(outcome);
            }
            match self.makers.outcome()? {
                (_, Outcome::Panicked(message)) => return Err(message),
                (at, outcome) => drop(self.waiting.insert(at, outcome)),
            }
        }
    }

    fn too_many_bad(&self) -> String {
        let (bad, len) = (self.bad.len(), self.source.len());
        let some: Vec<&str> = self.bad.values().take(3).map(String::as_str).collect();
        let (some, more) = (some.join("; "), if bad > 3 { "; …" } else { "" });
        let place = self.source.place();
        let place = shown(&place);
        if bad == len {
            return format!("none of the {len} images of {place} can be read: {some}{more}");
        }
        let percent = (self.options.max_bad_fraction * 1e4).round() / 100.0;
        format!(
            "{bad} of {len} images of {place} cannot be read, and that is more than the {percent} % allowed: \
             {some}{more}. Remove or repair them (`bootmae data check` names them all), or allow more with --max-bad"
        )
    }
}

/// Refuses options out of range and collections too small or too large. Gives what makes the views.
fn check(options: &LoaderOptions, source: &dyn Source, first_batch: u64) -> Result<Views> {
    let views = options.views()?;
    let (len, place, batch_size) = (source.len(), source.place(), options.batch_size);
    if first_batch.checked_mul(batch_size as u64).is_none_or(|position| position > u64::MAX / 2) {
        return Err(Error::Config(format!("there is no batch {first_batch} of {batch_size} images")));
    }
    if len == 0 || u32::try_from(len).is_err() {
        return Err(Error::Images(format!("{place}: a collection has 1 to 2³² − 1 images, not {len}")));
    }
    enough_for(source, batch_size)?;
    Ok(views)
}

/// Refuses a collection with fewer images than a batch.
///
/// # Errors
/// [`Error::Images`], naming the collection.
pub fn enough_for(source: &dyn Source, batch_size: usize) -> Result<()> {
    let (len, place) = (source.len(), source.place());
    let place = shown(&place);
    match len < batch_size {
        true => Err(Error::Images(format!(
            "{place}: {len} image{} fewer than a batch of {batch_size}; give more images or a smaller --batch-size",
            if len == 1 { " is" } else { "s are" }
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
