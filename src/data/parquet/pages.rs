//! The pages of a column: where they are, and the values in them, byte strings or numbers of a fixed width.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use super::super::decode::MAX_BYTES;
use super::super::records::read_range;
use super::footer::{Chunk, Packing};
use super::thrift::{Field, Reader};

/// The longest head of a page that is read. Writers that put the least and the largest value into it cut these short.
const HEAD: u64 = 64 << 10;

/// The most rows that a page may have.
const MOST_ROWS: usize = 4 << 20;

/// What a page's numbers stand for.
const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const DICTIONARY: i64 = 8;

/// Where a page is and what its head says of it.
#[derive(Clone, Debug)]
pub(super) struct PagePlace {
    /// Where its bytes start.
    start: u64,
    packed: usize,
    unpacked: usize,
    kind: PageKind,
    encoding: i64,
    pub(super) rows: usize,
    /// The number of rows up to the end of this page.
    pub(super) end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageKind {
    Dictionary {
        values: usize,
    },
    Data,
    /// The second version of data pages: bytes of levels, never packed, and whether the values are.
    Data2 {
        levels: usize,
        packed: bool,
    },
}

impl PagePlace {
    pub(super) fn is_dictionary(&self) -> bool {
        matches!(self.kind, PageKind::Dictionary { .. })
    }
}

/// The values of a page.
pub(super) struct Page {
    bytes: Arc<Vec<u8>>,
    /// Where each value is, if it is not null.
    values: Vec<Option<(u32, u32)>>,
}

impl Page {
    pub(super) fn value(&self, row: usize) -> Option<&[u8]> {
        let (start, end) = (*self.values.get(row)?)?;
        self.bytes.get(start as usize..end as usize)
    }

    /// Bytes of memory that it takes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.values.len() * 12
    }
}

fn damaged() -> String {
    "a page of its row group is damaged".into()
}

/// Finds the pages of a chunk.
pub(super) fn list(path: &Path, chunk: &Chunk) -> Result<Vec<PagePlace>, String> {
    let (mut pages, mut at, mut end): (Vec<PagePlace>, u64, usize) = (Vec::new(), chunk.start, 0);
    while at < chunk.end && end < chunk.rows {
        let head = read_range(path, at, (chunk.end - at).min(HEAD) as usize)?;
        let (place, length) = read_head(&head, at)?;
        at = place.start + place.packed as u64;
        if at > chunk.end || length == 0 {
            return Err(damaged());
        }
        end += place.rows;
        // Pages of an index are passed over; a dictionary comes first.
        let wanted = place.rows > 0 || (place.is_dictionary() && pages.is_empty());
        if wanted {
            pages.push(PagePlace { end, ..place });
        }
    }
    match end == chunk.rows {
        true => Ok(pages),
        false => Err("its row group holds other rows than the file's index says".into()),
    }
}

/// The head of a page at byte `at` of the file, and its length.
fn read_head(bytes: &[u8], at: u64) -> Result<(PagePlace, usize), String> {
    let (mut kind, mut unpacked, mut packed) = (-1, -1, -1);
    // Values, encoding, bytes of levels (two kinds), whether packed.
    let mut fields = [0, -1, 0, 0, 1];
    let mut reader = Reader::new(bytes);
    reader.structure(|reader, number, field| {
        match (number, field) {
            (1, Field::Number(value)) => kind = value,
            (2, Field::Number(value)) => unpacked = value,
            (3, Field::Number(value)) => packed = value,
            (5 | 7 | 8, Field::Open) => {
                let places: &[(i16, usize)] =
                    if number == 8 { &[(1, 0), (4, 1), (5, 2), (6, 3), (7, 4)] } else { &[(1, 0), (2, 1)] };
                reader.structure(|_, number, field| {
                    if let (Field::Number(value), Some((_, to))) = (field, places.iter().find(|(n, _)| *n == number)) {
                        fields[*to] = value;
                    }
                    Ok(false)
                })?;
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    })?;
    let size = |value: i64| usize::try_from(value).ok().filter(|&n| n as u64 <= MAX_BYTES).ok_or_else(damaged);
    let [values, encoding, definitions, repetitions, is_packed] = fields;
    let values = size(values)?;
    let (kind, rows) = match kind {
        0 => (PageKind::Data, values),
        2 => (PageKind::Dictionary { values }, 0),
        3 => {
            let levels = size(definitions)?.saturating_add(size(repetitions)?);
            (PageKind::Data2 { levels, packed: is_packed != 0 }, values)
        }
        _ => (PageKind::Data, 0),
    };
    if rows > MOST_ROWS {
        return Err(damaged());
    }
    let start = at + reader.at() as u64;
    let (packed, unpacked) = (size(packed)?, size(unpacked)?);
    Ok((PagePlace { start, packed, unpacked, kind, encoding, rows, end: 0 }, reader.at()))
}

/// Reads and unpacks a page.
pub(super) fn unpack(path: &Path, chunk: &Chunk, place: &PagePlace, dictionary: Option<&Page>) -> Result<Page, String> {
    let bytes = read_range(path, place.start, place.packed)?;
    let (levels, body) = match place.kind {
        PageKind::Data2 { levels, packed } => {
            let (levels, body) = bytes.split_at_checked(levels).ok_or_else(damaged)?;
            let unpacked = place.unpacked.checked_sub(levels.len()).ok_or_else(damaged)?;
            let body = if packed { unpacked_bytes(chunk.packing, body, unpacked)? } else { body.to_vec() };
            (Some(levels.to_vec()), body)
        }
        _ if chunk.packing == Packing::None => (None, bytes),
        _ => (None, unpacked_bytes(chunk.packing, &bytes, place.unpacked)?),
    };
    if let PageKind::Dictionary { values } = place.kind {
        let (found, _) = plain(&body, 0, values, chunk.width)?;
        return Ok(Page { bytes: Arc::new(body), values: found.into_iter().map(Some).collect() });
    }
    let mut at = 0;
    let present = match (chunk.full_level, &levels) {
        (0, _) => vec![true; place.rows],
        (level, Some(levels)) => present(levels, level, place.rows)?,
        (level, None) => {
            let length = body.first_chunk::<4>().map(|&n| u32::from_le_bytes(n) as usize).ok_or_else(damaged)?;
            at = length.checked_add(4).filter(|&end| end <= body.len()).ok_or_else(damaged)?;
            present(&body[4..at], level, place.rows)?
        }
    };
    let count = present.iter().filter(|&&there| there).count();
    let (bytes, found) = match (place.encoding, dictionary) {
        (PLAIN, _) => {
            let (found, _) = plain(&body, at, count, chunk.width)?;
            (Arc::new(body), found)
        }
        (DICTIONARY | PLAIN_DICTIONARY, Some(dictionary)) => {
            let (&width, runs) = body[at..].split_first().ok_or_else(damaged)?;
            let numbers = hybrid(runs, u32::from(width), count)?;
            let found = numbers.into_iter().map(|n| dictionary.values.get(n as usize).copied().flatten());
            (dictionary.bytes.clone(), found.collect::<Option<Vec<_>>>().ok_or_else(damaged)?)
        }
        (DICTIONARY | PLAIN_DICTIONARY, None) => return Err(damaged()),
        (other, _) => return Err(format!("its values are encoded by method {other}; write them plain")),
    };
    let mut found = found.into_iter();
    Ok(Page { bytes, values: present.into_iter().map(|there| if there { found.next() } else { None }).collect() })
}

/// Unpacks `bytes` into exactly `length` bytes.
fn unpacked_bytes(packing: Packing, bytes: &[u8], length: usize) -> Result<Vec<u8>, String> {
    let unpacked = match packing {
        Packing::None => bytes.to_vec(),
        Packing::Snappy => {
            if snap::raw::decompress_len(bytes).ok() != Some(length) {
                return Err(damaged());
            }
            snap::raw::Decoder::new().decompress_vec(bytes).map_err(|_| damaged())?
        }
        Packing::Gzip => {
            // Gzip packs at most 1032 bytes into one.
            let mut unpacked = Vec::with_capacity(length.min(bytes.len().saturating_mul(1032)) + 1);
            let mut reader = MultiGzDecoder::new(bytes).take(length as u64 + 1);
            reader.read_to_end(&mut unpacked).map_err(|_| damaged())?;
            unpacked
        }
    };
    if unpacked.len() == length { Ok(unpacked) } else { Err(damaged()) }
}

/// The places of `count` values from `at` on, and the end of the last: of numbers of `width` bytes, or of byte strings,
/// each after its length.
fn plain(bytes: &[u8], mut at: usize, count: usize, width: Option<usize>) -> Result<(Vec<(u32, u32)>, usize), String> {
    if count > bytes.len() / 4 {
        return Err(damaged());
    }
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        if let Some(width) = width {
            places.push((at as u32, (at + width) as u32));
            at += width;
            if at > bytes.len() {
                return Err(damaged());
            }
            continue;
        }
        let length = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(damaged)?;
        let start = at + 4;
        let end = start.checked_add(u32::from_le_bytes(*length) as usize).filter(|&end| end <= bytes.len());
        at = end.ok_or_else(damaged)?;
        places.push((start as u32, at as u32));
    }
    Ok((places, at))
}

/// Which of `rows` values are there: those of the full definition level.
fn present(levels: &[u8], full: u32, rows: usize) -> Result<Vec<bool>, String> {
    let width = u32::BITS - full.leading_zeros();
    Ok(hybrid(levels, width, rows)?.into_iter().map(|level| level == full).collect())
}

/// `count` numbers of `width` bits in parquet's mixture of runs and packed groups of eight.
fn hybrid(bytes: &[u8], width: u32, count: usize) -> Result<Vec<u32>, String> {
    if width > 32 {
        return Err(damaged());
    }
    let (mut numbers, mut at) = (Vec::new(), 0);
    while numbers.len() < count {
        let (mut head, mut shift) = (0u32, 0);
        loop {
            let byte = *bytes.get(at).ok_or_else(damaged)?;
            at += 1;
            head |= u32::from(byte & 0x7F).checked_shl(shift).ok_or_else(damaged)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let left = count - numbers.len();
        if head & 1 == 0 {
            let value = bytes.get(at..at + width.div_ceil(8) as usize).ok_or_else(damaged)?;
            at += value.len();
            let value = value.iter().rev().fold(0u32, |value, &byte| value << 8 | u32::from(byte));
            numbers.resize(numbers.len() + left.min(head as usize >> 1), value);
            continue;
        }
        let packed = &bytes[at..];
        let length = (head as usize >> 1) * width as usize;
        at = (at + length).min(bytes.len());
        for number in 0..left.min((head as usize >> 1) * 8) {
            let bits = (0..width as usize).map(|bit| (number * width as usize + bit, bit));
            let mut value = 0;
            for (place, bit) in bits {
                let byte = packed.get(place / 8).ok_or_else(damaged)?;
                value |= u32::from(byte >> (place % 8) & 1) << bit;
            }
            numbers.push(value);
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_packed_groups_are_told_apart() {
        // Five times 1, then 0 to 7 in three bits each.
        let bytes = [5 << 1, 1, 1 << 1 | 1, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        assert_eq!(hybrid(&bytes, 3, 13).unwrap(), [1, 1, 1, 1, 1, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(hybrid(&bytes, 3, 3).unwrap(), [1, 1, 1]);
        assert!(hybrid(&bytes, 3, 14).is_err() && hybrid(&bytes, 33, 1).is_err());
        assert!(hybrid(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1], 3, 1).is_err());
        assert!(hybrid(&[0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 1], 1, 9).is_ok());
        assert_eq!(hybrid(&[3 << 1 | 1, 0b0101], 0, 9).unwrap(), [0; 9]);
    }
}
