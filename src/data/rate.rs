//! How fast one thread makes training views of a collection.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::allocator::keep_freed_blocks;
use super::augment::{Augmentation, Views};
use super::order::EpochOrder;
use super::{Normalisation, Source};
use crate::error::{Error, Result};
use crate::rng::{Rng, Stream};

/// What [`rate`] measured on one thread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Images that were read, decoded, cut and scaled.
    pub images: usize,
    /// Images that could not be read.
    pub unreadable: usize,
    /// Views a second.
    pub images_per_s: f64,
    /// Milliseconds an image for reading its bytes.
    pub read_ms: f64,
    /// Milliseconds an image for decoding them.
    pub decode_ms: f64,
    /// Milliseconds an image for what is changed in it and for the network's numbers.
    pub augment_ms: f64,
}

/// Makes views of `side`×`side` pixels of `images` images in the order of training, after one that warms up.
///
/// # Errors
/// [`Error::Images`] when none of them can be read, [`Error::Config`] for an augmentation that cannot be.
pub fn rate(source: &dyn Source, augmentation: &Augmentation, side: usize, images: usize) -> Result<Rate> {
    let views = Views::new(augmentation, Normalisation::INCEPTION, 3, side, side).map_err(Error::Config)?;
    keep_freed_blocks();
    let mut order = EpochOrder::new(0, source.len(), source.locality());
    let (mut read, mut decoded, mut augmented) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut made, mut unreadable, mut last) = (0, 0, String::new());
    for position in 0..=images as u64 {
        let (epoch, sample) = order.sample(position);
        let began = Instant::now();
        let view = source.read(sample).and_then(|stored| {
            let bytes = Instant::now();
            let picture = stored.decode()?.picture.with_channels(3);
            let pixels = Instant::now();
            let mut rng = Rng::new(0, Stream::Augment, epoch, sample as u64);
            std::hint::black_box(views.make(&picture, &mut rng));
            Ok([bytes - began, pixels - bytes, pixels.elapsed()])
        });
        match view {
            // The first fills caches.
            _ if position == 0 => {}
            Ok([a, b, c]) => {
                made += 1;
                (read, decoded, augmented) = (read + a, decoded + b, augmented + c);
            }
            Err(reason) => {
                unreadable += 1;
                last = format!("{}: {reason}", source.name(sample));
            }
        }
    }
    if made == 0 {
        return Err(Error::Images(format!("none of the {images} images tried can be read: {last}")));
    }
    let each = |time: Duration| time.as_secs_f64() * 1e3 / f64::from(made);
    Ok(Rate {
        images: made as usize,
        unreadable,
        images_per_s: f64::from(made) / (read + decoded + augmented).as_secs_f64(),
        read_ms: each(read),
        decode_ms: each(decoded),
        augment_ms: each(augmented),
    })
}
