//! Decoded pixels, and how many there may be.

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer};

use crate::data::Picture;

/// The longest side of an image that is decoded, in pixels.
pub const MAX_SIDE: u32 = 16384;

/// The most bytes that a file, and the pixels decoded from it (at least four bytes each), may have.
pub const MAX_BYTES: u64 = 256 << 20;

/// Images larger than this many pixels need a byte for each [`PIXELS_A_BYTE`] of them.
const PIXELS_FREE: u64 = 16 << 20;

/// More pixels than this from one byte are what decompression bombs hold: a white PNG in RGB has up to 344.
const PIXELS_A_BYTE: u64 = 1024;

/// Pixels as they are stored: `channels` values each, as in [`Picture`].
pub(super) struct Raster {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) channels: usize,
    pub(super) pixels: Vec<u8>,
}

/// Refuses, in words, pictures without pixels, or of too many for what is decoded or for a file of `length` bytes.
/// `stored` are the bytes that a decoder asks for.
pub(super) fn within_limits((width, height): (u32, u32), stored: u64, length: usize) -> Result<(), String> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(format!("{width}×{height} pixels are none"));
    }
    if width.max(height) > MAX_SIDE {
        return Err(format!("its size exceeds the limit of {MAX_SIDE} pixels a side"));
    }
    if stored.max(pixels * 4) > MAX_BYTES {
        return Err(format!("{width}×{height} pixels exceed the limit of {} MiB decoded", MAX_BYTES >> 20));
    }
    if pixels > PIXELS_FREE && pixels / PIXELS_A_BYTE > length as u64 {
        return Err(format!("{width}×{height} pixels in {length} bytes exceed the limit of what is decoded"));
    }
    Ok(())
}

impl Raster {
    /// The pixels of an image, in 8 bits.
    pub(super) fn of(image: DynamicImage) -> Raster {
        let (height, width) = (image.height() as usize, image.width() as usize);
        let (channels, pixels) = match (image.color().has_color(), image.color().has_alpha()) {
            (false, false) => (1, image.into_luma8().into_raw()),
            (false, true) => (2, image.into_luma_alpha8().into_raw()),
            (true, false) => (3, image.into_rgb8().into_raw()),
            (true, true) => (4, image.into_rgba8().into_raw()),
        };
        Raster { width, height, channels, pixels }
    }

    /// The picture, turned.
    pub(super) fn upright(self, orientation: Orientation) -> Picture {
        let Raster { width, height, channels, pixels } = match orientation {
            Orientation::NoTransforms => self,
            _ => {
                let size = (self.width as u32, self.height as u32);
                let image = match self.channels {
                    1 => ImageBuffer::from_raw(size.0, size.1, self.pixels).map(DynamicImage::ImageLuma8),
                    2 => ImageBuffer::from_raw(size.0, size.1, self.pixels).map(DynamicImage::ImageLumaA8),
                    3 => ImageBuffer::from_raw(size.0, size.1, self.pixels).map(DynamicImage::ImageRgb8),
                    _ => ImageBuffer::from_raw(size.0, size.1, self.pixels).map(DynamicImage::ImageRgba8),
                };
                let mut image = image.expect("as many values as pixels and channels");
                image.apply_orientation(orientation);
                Raster::of(image)
            }
        };
        Picture { height, width, channels, pixels }
    }
}
