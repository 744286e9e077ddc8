//! Numbered collections of images.

use super::PassedOver;
use super::Picture;
use super::decode::{Decoded, decode_bytes};
use super::labels::{Labels, no_column};

/// A collection of images with stable numbers, read from many threads.
pub trait Source: Send + Sync {
    /// Where the images are: a path, as a message names it.
    fn place(&self) -> String;

    /// How many images there are, readable or not.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What to call an image in a message: its path, or its number in a file.
    fn name(&self, index: usize) -> String;

    /// Reads an image as it is stored. Whether it succeeds must depend on the image alone.
    ///
    /// # Errors
    /// Why it cannot be read, in words, without its name.
    fn read(&self, index: usize) -> Result<Stored, String>;

    /// The classes and the class of each image, which are read now and only when asked for. `column` says which where
    /// there are several: a column of parquet files, `coarse` or `fine` of CIFAR-100.
    ///
    /// # Errors
    /// [`Error::Images`](crate::error::Error::Images) with the place, for labels that are damaged, too few or too many,
    /// or no classes. Images can be read all the same.
    fn labels(&self, column: Option<&str>) -> crate::error::Result<Labels> {
        no_column(&self.place(), column)?;
        Ok(Labels::none(self.len()))
    }

    /// The first folder of an image's path, if it has one.
    fn folder(&self, _index: usize) -> Option<String> {
        None
    }

    /// Appends what tells an image from others of the collection wherever that is moved: its path in it, with `/`
    /// between parts. Only names are compared, never contents.
    fn identify(&self, index: usize, key: &mut Vec<u8>) {
        key.extend(self.name(index).bytes());
    }

    /// What lies in the collection's place and was not taken.
    fn passed_over(&self) -> PassedOver {
        PassedOver::default()
    }

    /// Which images lie side by side, if reading them together is cheaper.
    fn locality(&self) -> Option<Locality> {
        None
    }

    /// Reads and decodes an image into `channels` values a pixel (1 to 4).
    ///
    /// # Errors
    /// As [`Source::read`], and when the image is damaged.
    fn load(&self, index: usize, channels: usize) -> Result<Picture, String> {
        Ok(self.read(index)?.decode()?.picture.with_channels(channels))
    }
}

/// An image as a collection keeps it.
pub enum Stored {
    /// A file in one of the formats of [`decode`](super::decode()).
    Encoded(Vec<u8>),
    /// Bare pixels.
    Pixels(Picture),
}

impl Stored {
    /// The pixels, with the channels that they are stored with.
    ///
    /// # Errors
    /// As [`decode`](super::decode()).
    pub fn decode(self) -> Result<Decoded, String> {
        match self {
            Stored::Encoded(bytes) => decode_bytes(&bytes),
            Stored::Pixels(picture) => {
                picture.check()?;
                let kind = ["bare grey", "bare grey+alpha", "bare RGB", "bare RGBA"][picture.channels - 1].into();
                Ok(Decoded { picture, kind })
            }
        }
    }
}

/// Which images lie side by side. An epoch then takes the runs in a random order and shuffles within a window, so that
/// reading jumps about less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locality {
    /// The lengths of the runs, in order; together all images.
    pub runs: Vec<usize>,
    /// How many images are shuffled together.
    pub window: usize,
    /// The numbers of the images in the order in which they lie, where that is not the order of their numbers.
    pub order: Option<Vec<u32>>,
}
