//! The chunks of PNG and WebP files, as far as they lie in the file.

/// The chunks of a PNG: names and contents, without checking their sums.
pub(super) fn png(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (name, behind) = behind.split_first_chunk::<4>()?;
        let (chunk, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        // The sum is missing where the file ends with the chunk.
        rest = behind.get(4..).unwrap_or_default();
        Some((name, chunk))
    })
}

/// The chunks of a WebP: names and contents. What claims to be longer than the file has an end is no chunk.
pub(super) fn webp(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (name, behind) = rest.split_first_chunk::<4>()?;
        let (length, behind) = behind.split_first_chunk::<4>()?;
        let (chunk, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        // Chunks of odd length are followed by a byte.
        rest = behind.get(chunk.len() % 2..).unwrap_or_default();
        Some((name, chunk))
    })
}
