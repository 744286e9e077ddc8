//! Reading one image: JPEG, PNG, WebP, GIF, BMP or TIFF, told by its content, upright, 8 bits, and never larger than
//! allowed.
//!
//! What a file decodes to is what Pillow makes of it, or it is refused with the reason. PNG, WebP and BMP are decoded
//! by the crate `image`; JPEG, GIF and TIFF have rooms of their own here.

mod chunks;
mod gif;
mod jpeg;
mod orientation;
mod png;
mod raster;
mod tiff;
mod webp;

#[cfg(test)]
mod matrix;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(not(target_arch = "wasm32"))]
use std::{fs::File, io::Read, path::Path};

use image::codecs::{bmp::BmpDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageError, Limits};

use super::Picture;
use crate::formats::told::what_it_is;
pub use raster::{MAX_BYTES, MAX_SIDE};
use raster::{Raster, within_limits};

/// The endings of files that are taken for images, compared without case.
#[cfg(not(target_arch = "wasm32"))]
pub(super) const ENDINGS: [&str; 9] = ["bmp", "gif", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// A decoded image, and how it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The pixels, upright.
    pub picture: Picture,
    /// Format and colour type, such as `JPEG RGB`.
    pub kind: String,
}

/// Reads an image file into 8-bit pixels of `channels` values, turned as its EXIF or XMP orientation says.
///
/// Grey, palette, 16-bit, CMYK and transparent images are converted as [`Picture::with_channels`] says; of an animation
/// or several pages the first is taken. Sizes are compared with [`MAX_SIDE`] and [`MAX_BYTES`] before pixels are
/// allocated.
///
/// # Errors
/// In words, without the path: the file cannot be read, is no such image, is too large, is damaged or cut short, or of
/// a kind that is not read. A panic inside a decoder is such an error too.
///
/// # Panics
/// When `channels` is not 1 to 4.
#[cfg(not(target_arch = "wasm32"))]
pub fn decode(path: &Path, channels: usize) -> Result<Picture, String> {
    Ok(decode_bytes(&read_file(path)?)?.picture.with_channels(channels))
}

/// The bytes of an image file of at most [`MAX_BYTES`].
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let found = file.metadata().map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("not a file".into());
    }
    if found.len() > MAX_BYTES {
        return Err(format!("the file has more than {} MiB", MAX_BYTES >> 20));
    }
    let mut bytes = Vec::with_capacity(found.len() as usize);
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// [`decode`] for a file that is already in memory, with the channels that it has.
///
/// # Errors
/// As [`decode`].
pub fn decode_bytes(bytes: &[u8]) -> Result<Decoded, String> {
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        let head = Head::of(bytes)?;
        head.within_limits(bytes.len())?;
        let (kind, orientation) = (head.kind(), head.orientation(bytes));
        Ok(Decoded { picture: head.decode()?.upright(orientation), kind })
    }));
    decoded.unwrap_or_else(|_| Err(FAILED.into()))
}

/// Width and height of an image file in memory, of which only the head is read. Turned pictures are measured unturned.
///
/// # Errors
/// As [`decode_bytes`], but damage further on is not seen.
pub fn dimensions(bytes: &[u8]) -> Result<(u32, u32), String> {
    let measured = catch_unwind(AssertUnwindSafe(|| {
        let head = Head::of(bytes)?;
        head.within_limits(bytes.len())?;
        Ok(head.size())
    }));
    measured.unwrap_or_else(|_| Err(FAILED.into()))
}

const FAILED: &str = "the decoder failed on its content";

/// An image of which the head is read, before any pixel is decoded.
enum Head<'b> {
    Jpeg(jpeg::Head<'b>),
    Gif(Box<gif::Head<'b>>),
    Tiff(tiff::Page<'b>),
    /// The format's name and the decoder of the crate `image`.
    Other(&'static str, Box<dyn ImageDecoder + 'b>),
}

impl<'b> Head<'b> {
    fn of(bytes: &'b [u8]) -> Result<Head<'b>, String> {
        let other = |name, decoder: Result<Box<dyn ImageDecoder + 'b>, ImageError>| {
            let mut decoder = decoder.map_err(words)?;
            decoder.set_limits(limits()).map_err(words)?;
            Ok(Head::Other(name, decoder))
        };
        let boxed = |decoder| -> Box<dyn ImageDecoder + 'b> { decoder };
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => jpeg::Head::of(bytes).map(Head::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => {
                gif::Head::of(bytes).map(|head| Head::Gif(Box::new(head)))
            }
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => match what_it_is(bytes) {
                Some(raw) if raw.contains("raw") => Err(no_image(bytes)),
                _ => tiff::Page::of(bytes).map(Head::Tiff),
            },
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => {
                let decoder = PngDecoder::with_limits(Cursor::new(png::ended(bytes)), limits());
                other("PNG", decoder.map(|decoder| boxed(Box::new(decoder))))
            }
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
                let picture = Cursor::new(webp::first_picture(bytes)?);
                other("WebP", WebPDecoder::new(picture).map(|decoder| boxed(Box::new(decoder))))
            }
            [b'B', b'M', ..] => {
                other("BMP", BmpDecoder::new(Cursor::new(bytes)).map(|decoder| boxed(Box::new(decoder))))
            }
            _ => Err(no_image(bytes)),
        }
    }

    fn size(&self) -> (u32, u32) {
        match self {
            Head::Jpeg(head) => head.size(),
            Head::Gif(head) => (head.width, head.height),
            Head::Tiff(page) => (page.width, page.height),
            Head::Other(_, decoder) => decoder.dimensions(),
        }
    }

    /// Refuses, in words, what has no pixels or too many, by itself or for a file of `length` bytes.
    fn within_limits(&self, length: usize) -> Result<(), String> {
        let stored = if let Head::Other(_, decoder) = self { decoder.total_bytes() } else { 0 };
        within_limits(self.size(), stored, length)
    }

    /// Format and colour type, in the words of people.
    fn kind(&self) -> String {
        match self {
            Head::Jpeg(head) => format!("JPEG {}", head.kind()),
            Head::Gif(_) => "GIF palette".into(),
            Head::Tiff(page) => format!("TIFF {}", page.kind()),
            Head::Other(name, decoder) => format!("{name} {}", colours(decoder.original_color_type())),
        }
    }

    fn orientation(&self, bytes: &[u8]) -> Orientation {
        match self {
            Head::Jpeg(head) => orientation::of_jpeg(&head.notes),
            Head::Tiff(_) => orientation::of_tiff(bytes),
            Head::Other("PNG", _) => orientation::of_png(bytes),
            Head::Other("WebP", _) => orientation::of_webp(bytes),
            Head::Gif(_) | Head::Other(..) => Orientation::NoTransforms,
        }
    }

    fn decode(self) -> Result<Raster, String> {
        match self {
            Head::Jpeg(head) => head.decode(),
            Head::Gif(head) => head.decode(),
            Head::Tiff(page) => page.decode(),
            Head::Other(_, decoder) => DynamicImage::from_decoder(decoder).map(Raster::of).map_err(words),
        }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

fn words(error: ImageError) -> String {
    match &error {
        ImageError::Limits(limit) if limit.kind() == image::error::LimitErrorKind::DimensionError => {
            format!("its size exceeds the limit of {MAX_SIDE} pixels a side")
        }
        _ => error.to_string(),
    }
}

/// Why a file of no known format is refused, with what it is.
fn no_image(bytes: &[u8]) -> String {
    let but = what_it_is(bytes).map(|what| format!(" but {what}")).unwrap_or_default();
    format!("neither JPEG, PNG, WebP, GIF, BMP nor TIFF{but}")
}

/// What a pixel of a file consists of.
fn colours(kind: ExtendedColorType) -> Cow<'static, str> {
    match kind {
        ExtendedColorType::L1 => "1-bit grey".into(),
        ExtendedColorType::L8 => "grey".into(),
        ExtendedColorType::La8 => "grey+alpha".into(),
        ExtendedColorType::Rgb8 => "RGB".into(),
        ExtendedColorType::Rgba8 => "RGBA".into(),
        ExtendedColorType::L16 => "16-bit grey".into(),
        ExtendedColorType::La16 => "16-bit grey+alpha".into(),
        ExtendedColorType::Rgb16 => "16-bit RGB".into(),
        ExtendedColorType::Rgba16 => "16-bit RGBA".into(),
        other => format!("{other:?}").into(),
    }
}
