//! Reading one image: JPEG, PNG, WebP, GIF, BMP or TIFF, told by its content, upright, 8 bits, and never larger than
//! allowed.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(not(target_arch = "wasm32"))]
use std::{fs::File, io::Read, path::Path};

use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::Picture;
use super::palette_tiff::Palette;
use super::told::what_it_is;

/// The longest side of an image that is decoded, in pixels.
pub const MAX_SIDE: u32 = 16384;

/// The most bytes that a file, and the pixels decoded from it (at least four bytes each), may have.
pub const MAX_BYTES: u64 = 256 << 20;

/// The endings of files that are taken for images, compared without case.
#[cfg(not(target_arch = "wasm32"))]
pub(super) const ENDINGS: [&str; 9] = ["bmp", "gif", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// Images larger than this many pixels need a byte for each [`PIXELS_A_BYTE`] of them.
const PIXELS_FREE: u64 = 16 << 20;

/// More pixels than this from one byte are what decompression bombs hold: a white PNG in RGB has up to 344.
const PIXELS_A_BYTE: u64 = 1024;

/// A decoded image, and how it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The pixels, upright.
    pub picture: Picture,
    /// Format and colour type, such as `JPEG RGB`.
    pub kind: String,
}

/// Reads an image file into 8-bit pixels of `channels` values, turned as its EXIF orientation says.
///
/// Grey, palette, 16-bit, CMYK and transparent images are converted as [`Picture::with_channels`] says; of an animation
/// or several pages the first is taken. Sizes are compared with [`MAX_SIDE`] and [`MAX_BYTES`] before pixels are
/// allocated.
///
/// # Errors
/// In words, without the path: the file cannot be read, is no such image, is too large, is damaged or cut short. A
/// panic inside a decoder is such an error too.
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
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_upright(bytes)));
    let (image, kind) = decoded.unwrap_or_else(|_| Err("the decoder failed on its content".into()))?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    let (channels, pixels) = match (image.color().has_color(), image.color().has_alpha()) {
        (false, false) => (1, image.into_luma8().into_raw()),
        (false, true) => (2, image.into_luma_alpha8().into_raw()),
        (true, false) => (3, image.into_rgb8().into_raw()),
        (true, true) => (4, image.into_rgba8().into_raw()),
    };
    Ok(Decoded { picture: Picture { height, width, channels, pixels }, kind })
}

/// Width and height of an image file in memory, of which only the head is read. Turned pictures are measured unturned.
///
/// # Errors
/// As [`decode_bytes`], but damage further on is not seen.
pub fn dimensions(bytes: &[u8]) -> Result<(u32, u32), String> {
    let palette = Palette::of(bytes);
    let bytes = palette.as_ref().map_or(bytes, |palette| &palette.indices);
    catch_unwind(AssertUnwindSafe(|| head(bytes).map(|(decoder, _)| decoder.dimensions())))
        .unwrap_or_else(|_| Err("the decoder failed on its content".into()))
}

/// The decoder of an image within the limits, before any pixel is decoded, and the name of its format.
fn head(bytes: &[u8]) -> Result<(impl ImageDecoder + '_, &'static str), String> {
    let words = |error: image::ImageError| match &error {
        ImageError::Limits(limit) if limit.kind() == LimitErrorKind::DimensionError => {
            format!("its size exceeds the limit of {MAX_SIDE} pixels a side")
        }
        _ => error.to_string(),
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    reader.limits(limits.clone());
    let format = match reader.format() {
        Some(ImageFormat::Jpeg) if !jpeg_is_whole(bytes) => return Err("the JPEG is cut short".into()),
        Some(ImageFormat::Jpeg) => "JPEG",
        Some(ImageFormat::Png) => "PNG",
        Some(ImageFormat::WebP) if !webp_is_whole(bytes) => return Err("the WebP is cut short".into()),
        Some(ImageFormat::WebP) => "WebP",
        Some(ImageFormat::Gif) => "GIF",
        Some(ImageFormat::Bmp) => "BMP",
        Some(ImageFormat::Tiff) => "TIFF",
        _ => return Err(no_image(bytes)),
    };
    let decoder = reader.into_decoder().map_err(words)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(format!("{width}×{height} pixels are none"));
    }
    limits.reserve(decoder.total_bytes().max(pixels * 4)).map_err(words)?;
    if pixels > PIXELS_FREE && pixels / PIXELS_A_BYTE > bytes.len() as u64 {
        return Err(format!("{width}×{height} pixels in {} bytes exceed the limit of what is decoded", bytes.len()));
    }
    Ok((decoder, format))
}

/// Why a file of no known format is refused, with what it is.
fn no_image(bytes: &[u8]) -> String {
    let but = what_it_is(bytes).map(|what| format!(" but {what}")).unwrap_or_default();
    format!("neither JPEG, PNG, WebP, GIF, BMP nor TIFF{but}")
}

/// Decodes within the limits and applies the orientation.
fn decode_upright(bytes: &[u8]) -> Result<(DynamicImage, String), String> {
    let palette = Palette::of(bytes);
    let bytes = palette.as_ref().map_or(bytes, |palette| &palette.indices);
    let (mut decoder, format) = head(bytes)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let kind = format!("{format} {}", palette.as_ref().map_or_else(|| colours(&decoder), |_| "palette".into()));
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    if let Some(palette) = &palette {
        image = palette.colour(&image.into_luma8());
    }
    image.apply_orientation(orientation);
    Ok((image, kind))
}

/// What a pixel of a file consists of, in the words of people.
fn colours(decoder: &impl ImageDecoder) -> String {
    match decoder.original_color_type() {
        ExtendedColorType::L1 => "1-bit grey".into(),
        ExtendedColorType::L8 => "grey".into(),
        ExtendedColorType::La8 => "grey+alpha".into(),
        ExtendedColorType::Rgb8 => "RGB".into(),
        ExtendedColorType::Rgba8 => "RGBA".into(),
        ExtendedColorType::L16 => "16-bit grey".into(),
        ExtendedColorType::La16 => "16-bit grey+alpha".into(),
        ExtendedColorType::Rgb16 => "16-bit RGB".into(),
        ExtendedColorType::Rgba16 => "16-bit RGBA".into(),
        ExtendedColorType::Cmyk8 => "CMYK".into(),
        other => format!("{other:?}"),
    }
}

/// Whether a JPEG reaches its end marker. The decoder itself fills what is missing with grey and says nothing.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(next) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xFF)) {
        // Up to here entropy-coded bytes.
        at += next;
        match bytes.get(at + 1) {
            Some(0xD9) => return true,
            // A segment with a length, which counts its own two bytes. What follows SOS is entropy-coded bytes.
            Some(0x02..=0xCF | 0xDA..=0xFE) => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => at += 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
            // Escaped values, restart markers, fill bytes.
            _ => at += 1,
        }
    }
    false
}

/// Whether the chunks of a WebP lie in its file. The decoder allocates what a chunk of metadata claims to be long.
fn webp_is_whole(bytes: &[u8]) -> bool {
    let mut at = 12;
    while let Some([.., a, b, c, d]) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        match length <= bytes.len() - at - 8 {
            // Chunks of odd length are followed by a byte.
            true => at += 8 + length + length % 2,
            false => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pil")
    }

    fn fixture(name: &str) -> PathBuf {
        fixtures().join(name)
    }

    fn rgb(bytes: &[u8]) -> Result<Picture, String> {
        decode_bytes(bytes).map(|decoded| decoded.picture.with_channels(3))
    }

    /// Every file `kinds/NAME` beside `kinds/NAME.rgb.png`, what PIL makes of it.
    #[test]
    fn every_kind_of_image_decodes_as_in_pil() {
        let (mut kinds, mut wrong) = (0, Vec::new());
        for entry in std::fs::read_dir(fixture("kinds")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name.ends_with(".rgb.png") {
                continue;
            }
            kinds += 1;
            let expected = decode(&fixture(&format!("kinds/{name}.rgb.png")), 3).unwrap();
            let picture = match decode(&path, 3) {
                Ok(picture) if (picture.height, picture.width) == (expected.height, expected.width) => picture,
                other => {
                    wrong.push(format!("{name}: {:?}", other.map(|picture| (picture.height, picture.width))));
                    continue;
                }
            };
            let worst = picture.pixels.iter().zip(&expected.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            // Where colour is stored at half the resolution, decoders differ in how they interpolate it.
            let allowed = if name == "subsampled.jpg" { 4 } else { 2 };
            if worst > allowed {
                wrong.push(format!("{name} differs by {worst}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(kinds, 47);
    }

    #[test]
    fn grey_and_alpha_are_as_in_pil() {
        let opaque = decode(&fixture("kinds/rgb.png"), 4).unwrap();
        assert!(opaque.pixels.chunks_exact(4).all(|pixel| pixel[3] == 255));
        let grey = decode(&fixture("kinds/rgb.png"), 1).unwrap();
        let expected = decode(&fixture("kinds/grey.png"), 1).unwrap();
        assert_eq!(grey, expected);
        let transparent = decode(&fixture("kinds/rgba.png"), 2).unwrap();
        assert!(transparent.pixels.chunks_exact(2).any(|pixel| pixel[1] < 255));
    }

    /// One file of each format and compression.
    const SHORT: [&str; 10] = [
        "rgb.jpg",
        "progressive.jpg",
        "rgb.png",
        "lossy.webp",
        "lossless.webp",
        "palette.gif",
        "rgb.bmp",
        "rgb.tiff",
        "tiff_lzw.tiff",
        "palette.tiff",
    ];

    #[test]
    fn a_file_cut_short_is_refused_or_whole() {
        for name in SHORT {
            let bytes = std::fs::read(fixture("kinds").join(name)).unwrap();
            let whole = rgb(&bytes).unwrap();
            let mut refused = 0;
            for length in 0..bytes.len() {
                match rgb(&bytes[..length]) {
                    Ok(picture) => assert_eq!(picture, whole, "{name} cut to {length} bytes"),
                    Err(_) => refused += 1,
                }
            }
            assert!(refused + 16 >= bytes.len(), "{name}: {refused} of {} lengths refused", bytes.len());
        }
    }

    #[test]
    fn flipped_bits_give_a_picture_or_a_reason() {
        let mut refused = 0;
        for name in ["rgb.jpg", "rgb.png", "lossy.webp", "lossless.webp"] {
            let bytes = std::fs::read(fixture("kinds").join(name)).unwrap();
            for bit in (0..bytes.len() * 8).step_by(7) {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                match rgb(&damaged) {
                    Ok(picture) => picture.check().unwrap(),
                    Err(reason) => refused += usize::from(!reason.is_empty()),
                }
            }
        }
        assert!(refused > 100, "{refused}");
    }

    #[test]
    fn sixteen_bit_colours_keep_their_high_byte() {
        let deep = image::ImageBuffer::from_fn(5, 4, |x, y| {
            image::Rgba([x * 12000, y * 20000, 65535, 40000].map(|v| v as u16))
        });
        let mut encoded = Cursor::new(Vec::new());
        DynamicImage::ImageRgba16(deep.clone()).write_to(&mut encoded, ImageFormat::Png).unwrap();
        let picture = decode_bytes(&encoded.into_inner()).unwrap().picture;
        assert!(
            picture.pixels.iter().zip(deep.iter()).all(|(eight, sixteen)| eight.abs_diff((sixteen >> 8) as u8) <= 1)
        );
    }

    #[test]
    fn an_image_without_rows_is_refused() {
        let mut bytes = std::fs::read(fixture("kinds/grey.gif")).unwrap();
        bytes[8..10].fill(0);
        assert_eq!(rgb(&bytes).unwrap_err(), "24×0 pixels are none");
    }

    /// A valid start of a PNG of any size: its header chunk, then the start of its pixels.
    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut encoded = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(1, 1).write_to(&mut encoded, ImageFormat::Png).unwrap();
        let mut bytes = encoded.into_inner();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let mut crc = u32::MAX;
        for byte in &bytes[12..29] {
            crc ^= u32::from(*byte);
            (0..8).for_each(|_| crc = if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 });
        }
        bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
        bytes
    }

    #[test]
    fn a_decompression_bomb_is_refused_for_its_size() {
        for (width, height) in [(100_000, 100_000), (16_384, 16_384), (20_000, 1), (1, 20_000)] {
            let reason = rgb(&png_header(width, height)).unwrap_err();
            assert!(reason.contains("limit") || reason.contains("size"), "{width}×{height}: {reason}");
        }
        let jpeg = std::fs::read(fixture("kinds/rgb.jpg")).unwrap();
        let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        let mut bomb = jpeg;
        bomb[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
        let reason = rgb(&bomb).unwrap_err();
        assert!(reason.contains("limit") || reason.contains("size"), "{reason}");
    }

    #[test]
    fn what_is_no_image_is_named_so() {
        assert_eq!(rgb(b"").unwrap_err(), "neither JPEG, PNG, WebP, GIF, BMP nor TIFF but an empty file");
        assert_eq!(rgb(b"\x01\xFE and so on").unwrap_err(), "neither JPEG, PNG, WebP, GIF, BMP nor TIFF");
        assert!(rgb(b"version https://git-lfs.github.com/spec/v1\noid").unwrap_err().contains("`git lfs pull`"));
        assert_eq!(decode(&fixtures(), 3).unwrap_err(), "not a file");
        assert!(decode(&fixture("missing.png"), 3).unwrap_err().contains("No such file"));
    }
}
