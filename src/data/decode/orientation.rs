//! How a picture is to be turned: what EXIF or, without it, XMP says, wherever a format keeps them, as in Pillow.

use std::io::Read;

use flate2::read::ZlibDecoder;
use image::metadata::Orientation;

use super::chunks;
use super::tiff::Directory;

/// The tag of EXIF and TIFF.
const ORIENTATION: u16 = 274;

/// A text of a PNG is unpacked to no more than this.
const LONGEST_TEXT: u64 = 1 << 20;

const EXIF: &[u8] = b"Exif\0\0";
const XMP_NAMESPACE: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// What a file's metadata hold that tells the orientation.
#[derive(Default)]
struct Notes {
    /// A TIFF file of EXIF tags.
    exif: Option<Vec<u8>>,
    xmp: Option<Vec<u8>>,
}

impl Notes {
    /// EXIF decides where it has the tag, with whatever value.
    fn orientation(&self) -> Orientation {
        let mut exif = self.exif.as_deref().unwrap_or_default();
        for _ in 0..2 {
            exif = exif.strip_prefix(EXIF).unwrap_or(exif);
        }
        let said = match Directory::of(exif) {
            Some(directory) => directory.entry(ORIENTATION).map(|entry| entry.small().unwrap_or_default()),
            None if exif.is_empty() => None,
            None => Some(0),
        };
        let code = said.or_else(|| in_xmp(self.xmp.as_deref()?)).unwrap_or_default();
        Orientation::from_exif(code).unwrap_or(Orientation::NoTransforms)
    }
}

/// The orientation that XMP says, as an attribute or as an element.
fn in_xmp(xmp: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    let places = xmp.windows(NAME.len()).enumerate().filter(|(_, found)| *found == NAME);
    let digit = |(at, _): (usize, &[u8])| {
        let rest = &xmp[at + NAME.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        value.first().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0')
    };
    places.filter_map(digit).next()
}

/// Of a JPEG by its `APP1` segments: EXIF in several is one; of XMP the last counts.
pub(super) fn of_jpeg(segments: &[&[u8]]) -> Orientation {
    let mut notes = Notes::default();
    for segment in segments {
        if let Some(exif) = segment.strip_prefix(EXIF) {
            notes.exif.get_or_insert_default().extend(exif);
        } else if let Some(xmp) = segment.strip_prefix(XMP_NAMESPACE) {
            notes.xmp = Some(xmp.to_vec());
        }
    }
    notes.orientation()
}

/// Of a PNG: the chunk `eXIf`, the texts in which ImageMagick keeps EXIF, the text of XMP.
pub(super) fn of_png(bytes: &[u8]) -> Orientation {
    let (mut notes, mut raw) = (Notes::default(), None);
    for (name, chunk) in chunks::png(bytes) {
        match name {
            b"eXIf" => notes.exif = Some(chunk.to_vec()),
            b"tEXt" | b"zTXt" | b"iTXt" => match text(name, chunk) {
                Some((b"Raw profile type exif", text)) => raw = in_hex(&text),
                Some((b"XML:com.adobe.xmp", text)) => notes.xmp = Some(text),
                _ => {}
            },
            _ => {}
        }
    }
    notes.exif = notes.exif.or(raw);
    notes.orientation()
}

/// The keyword and the text of a chunk of text.
fn text<'b>(name: &[u8; 4], chunk: &'b [u8]) -> Option<(&'b [u8], Vec<u8>)> {
    let end = |bytes: &[u8]| bytes.iter().position(|&byte| byte == 0);
    let keyword = &chunk[..end(chunk)?];
    let mut rest = &chunk[keyword.len() + 1..];
    let packed = match name {
        b"tEXt" => false,
        b"zTXt" => rest.split_off_first().copied()? == 0,
        _ => {
            let packed = rest.split_off_first().copied()? == 1;
            rest.split_off_first()?;
            // The language and the keyword in it.
            rest = &rest[end(rest)? + 1..];
            rest = &rest[end(rest)? + 1..];
            packed
        }
    };
    if !packed {
        return Some((keyword, rest.to_vec()));
    }
    let mut text = Vec::new();
    ZlibDecoder::new(rest).take(LONGEST_TEXT).read_to_end(&mut text).ok()?;
    Some((keyword, text))
}

/// The bytes of a profile written in hexadecimal digits behind two lines: its name, its length.
fn in_hex(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|&byte| byte == b'\n').skip(3);
    let digits = lines.flatten().filter(|byte| !byte.is_ascii_whitespace());
    let digits = digits.map(|&byte| char::from(byte).to_digit(16)).collect::<Option<Vec<u32>>>()?;
    Some(digits.as_chunks::<2>().0.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}

/// Of a WebP: the first of its chunks for EXIF and XMP that its header announces.
pub(super) fn of_webp(bytes: &[u8]) -> Orientation {
    let (mut notes, mut announced) = (Notes::default(), 0);
    for (name, chunk) in chunks::webp(bytes) {
        match name {
            b"VP8X" => announced = chunk.first().copied().unwrap_or_default(),
            b"EXIF" if announced & 8 != 0 => _ = notes.exif.get_or_insert_with(|| chunk.to_vec()),
            b"XMP " if announced & 4 != 0 => _ = notes.xmp.get_or_insert_with(|| chunk.to_vec()),
            _ => {}
        }
    }
    notes.orientation()
}

/// Of a TIFF: its own tags.
pub(super) fn of_tiff(bytes: &[u8]) -> Orientation {
    const XMP: u16 = 700;
    let xmp = Directory::of(bytes).and_then(|directory| directory.entry(XMP)).map(|entry| entry.bytes().to_vec());
    Notes { exif: Some(bytes.to_vec()), xmp }.orientation()
}
