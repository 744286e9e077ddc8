//! WebP files without what is not their first picture.

use super::chunks;

const SHORT: &str = "the WebP is cut short";

/// What the header of an extended file announces.
const PROFILE: u8 = 0x20;
const EXIF: u8 = 0x08;
const XMP: u8 = 0x04;

/// The file with the chunks of its first picture alone, and the sizes that these have: what else it holds may be long,
/// cut, or not be announced rightly. The decoder allocates what a chunk of metadata claims to be long.
///
/// # Errors
/// In words, when the picture is not whole, or when metadata that may turn it are missing at the end.
pub(super) fn first_picture(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (mut picture, mut announced, mut whole) = (b"RIFF\0\0\0\0WEBP".to_vec(), 0, false);
    for (name, chunk) in chunks::webp(bytes) {
        match name {
            b"EXIF" => announced &= !EXIF,
            b"XMP " => announced &= !XMP,
            _ => {}
        }
        if whole || !matches!(name, b"VP8 " | b"VP8L" | b"VP8X" | b"ALPH" | b"ANIM" | b"ANMF") {
            continue;
        }
        picture.extend(name);
        picture.extend((chunk.len() as u32).to_le_bytes());
        let content = picture.len();
        picture.extend(chunk);
        match (name, chunk.len()) {
            (b"VP8X", 1..) => {
                announced = chunk[0];
                picture[content] &= !(PROFILE | EXIF | XMP);
            }
            // There is nothing below the first frame that it could be blended with.
            (b"ANMF", 16..) => picture[content + 15] |= 2,
            _ => {}
        }
        picture.resize(picture.len().next_multiple_of(2), 0);
        whole = matches!(name, b"VP8 " | b"VP8L" | b"ANMF");
    }
    // The size in a file's head counts what follows it.
    let told = bytes.get(4..8).map_or(0, |size| size.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte)));
    if !whole || announced & (EXIF | XMP) != 0 && told + 8 > bytes.len() as u64 {
        return Err(SHORT.into());
    }
    let length = picture.len() as u32 - 8;
    picture[4..8].copy_from_slice(&length.to_le_bytes());
    Ok(picture)
}
