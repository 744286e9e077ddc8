//! PNG files that lack their last chunk.

use std::borrow::Cow;

use flate2::Crc;

use super::chunks;

/// The file with the end that the decoder asks for: where it stops with whole data, what is missing of their sum and
/// the end's chunk are added.
pub(super) fn ended(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (mut last, mut end) = (None, 8);
    for (name, chunk) in chunks::png(bytes) {
        // Length, name, content and sum.
        end += 12 + chunk.len();
        last = Some((name, chunk));
    }
    let Some((name @ (b"IDAT" | b"fdAT"), chunk)) = last else { return bytes.into() };
    if bytes.len() > end {
        return bytes.into();
    }
    let sum = |name: &[u8], chunk: &[u8]| {
        let mut sum = Crc::new();
        sum.update(name);
        sum.update(chunk);
        sum.sum().to_be_bytes()
    };
    [&bytes[..end - 4], &sum(name, chunk), &[0; 4], b"IEND", &sum(b"IEND", &[])].concat().into()
}
