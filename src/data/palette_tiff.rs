//! TIFF images of 8-bit palette indices, which the decoder of the crate `image` refuses.
//!
//! Such a file is read as if the indices were grey values; the colours are then looked up here.

use image::{DynamicImage, GrayImage, RgbImage};

/// Tags of a TIFF directory.
const BITS: u16 = 258;
const PHOTOMETRIC: u16 = 262;
const COLOUR_MAP: u16 = 320;

/// Entries of a palette of 8-bit indices.
const COLOURS: usize = 256;

/// The colours of a palette image, and the file with its indices declared to be grey values.
pub(super) struct Palette {
    /// The file.
    pub(super) indices: Vec<u8>,
    colours: Vec<[u8; 3]>,
}

/// A TIFF file's bytes, read in its byte order.
struct Tiff<'b> {
    bytes: &'b [u8],
    little: bool,
}

impl Tiff<'_> {
    fn short(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(&self, at: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        let value = if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
        usize::try_from(value).ok()
    }

    /// Where the value of a tag stands in the first directory.
    fn entry(&self, tag: u16) -> Option<usize> {
        let directory = self.long(4)?;
        let entries = usize::from(self.short(directory)?);
        let mut places = (0..entries).map_while(|entry| directory.checked_add(2 + entry * 12));
        places.find(|&at| self.short(at) == Some(tag)).map(|at| at + 8)
    }
}

impl Palette {
    /// The palette of a TIFF of 8-bit indices; none for every other file, damaged ones included.
    pub(super) fn of(bytes: &[u8]) -> Option<Palette> {
        let little = match bytes.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let tiff = Tiff { bytes, little };
        let photometric = tiff.entry(PHOTOMETRIC)?;
        let (kind, bits) = (tiff.short(photometric)?, tiff.short(tiff.entry(BITS)?)?);
        if (kind, bits) != (3, 8) {
            return None;
        }
        // All reds, then all greens, then all blues, in 16 bits.
        let map = tiff.long(tiff.entry(COLOUR_MAP)?)?;
        let value = |index: usize| tiff.short(map.checked_add(2 * index)?).map(|value| (value >> 8) as u8);
        let colour = |index| Some([value(index)?, value(COLOURS + index)?, value(2 * COLOURS + index)?]);
        let colours = (0..COLOURS).map(colour).collect::<Option<Vec<[u8; 3]>>>()?;
        let mut indices = bytes.to_vec();
        let grey: [u8; 2] = if little { [1, 0] } else { [0, 1] };
        indices.get_mut(photometric..photometric + 2)?.copy_from_slice(&grey);
        Some(Palette { indices, colours })
    }

    /// The picture that the indices stand for.
    pub(super) fn colour(&self, indices: &GrayImage) -> DynamicImage {
        let colour = |x, y| image::Rgb(self.colours[usize::from(indices.get_pixel(x, y)[0])]);
        DynamicImage::ImageRgb8(RgbImage::from_fn(indices.width(), indices.height(), colour))
    }
}
