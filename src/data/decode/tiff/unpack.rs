//! The samples of a strip or tile.

use std::borrow::Cow;
use std::io::{ErrorKind, Read};

use flate2::read::ZlibDecoder;
use weezl::{BitOrder, LzwStatus, decode::Configuration};

use super::super::jpeg;
use super::super::raster::MAX_BYTES;

pub(super) const SHORT: &str = "the TIFF is cut short";

/// How strips and tiles are packed.
pub(super) struct Packing<'b> {
    pub(super) compression: u64,
    /// The first bit of a byte is its lowest.
    pub(super) reversed: bool,
    /// 1: samples are as they are; 2: differences to those on the left; 3: of floating-point numbers.
    pub(super) differences: u64,
    /// Bytes of each strip or tile, as far as the file tells.
    pub(super) lengths: Vec<u64>,
    /// What the JPEGs of all strips or tiles have in common.
    pub(super) tables: Option<&'b [u8]>,
    pub(super) little: bool,
}

const DAMAGED: &str = "the TIFF's data are damaged or cut short";

impl Packing<'_> {
    /// Refuses, in words, what is not read.
    pub(super) fn check(&self, bits: usize) -> Result<(), String> {
        let name = match self.compression {
            1 | 4 | 5 | 7 | 8 | 32773 | 32946 => return self.check_differences(bits),
            2 | 3 => "CCITT Group 3",
            6 => "old JPEG",
            34925 => "LZMA",
            50000 => "Zstandard",
            50001 => "WebP",
            other => return Err(format!("a TIFF of compression {other}, which is not read")),
        };
        Err(format!("a TIFF of compression {name}, which is not read"))
    }

    fn check_differences(&self, bits: usize) -> Result<(), String> {
        match (self.compression, self.differences) {
            (5 | 8 | 32946, 2) if bits != 8 && bits != 16 => {
                Err(format!("a TIFF of differences of {bits}-bit samples, which are not read"))
            }
            (5 | 8 | 32946, 3..) => Err("a TIFF of differences of floating-point numbers".into()),
            (4, _) if bits != 1 => Err("a TIFF of CCITT Group 4 of more than one bit".into()),
            (7, _) if bits != 8 => Err(format!("a TIFF of JPEGs of {bits} bits a sample; 8 are read")),
            _ => Ok(()),
        }
    }
}

/// The unpacked bytes of a strip or tile.
pub(super) struct Chunk<'b> {
    bytes: Cow<'b, [u8]>,
    /// Samples of a row, those of one pixel side by side, and of a pixel.
    values: usize,
    samples: usize,
    bits: usize,
    little: bool,
    /// Samples are differences to the pixel on the left.
    differences: bool,
}

/// What a strip or tile is to have.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) columns: usize,
    /// Rows in the file, and those of them that are in the picture.
    pub(super) rows: usize,
    pub(super) needed: usize,
    /// Samples of a pixel, and bits of each.
    pub(super) samples: usize,
    pub(super) bits: usize,
}

impl<'b> Chunk<'b> {
    /// Unpacks the strip or tile with a number, which begins at `offset`. `colour` is for those that are JPEGs.
    pub(super) fn of(
        bytes: &'b [u8],
        offset: u64,
        number: usize,
        packing: &Packing,
        size: Size,
        colour: jpeg::Colour,
    ) -> Result<Chunk<'b>, String> {
        let values = size.columns * size.samples;
        let need = (values * size.bits).div_ceil(8).saturating_mul(size.needed);
        if need as u64 > MAX_BYTES {
            return Err(format!("a TIFF whose strips or tiles exceed the limit of {} MiB", MAX_BYTES >> 20));
        }
        let data = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).ok_or(SHORT)?;
        let length = packing.lengths.get(number).and_then(|&length| usize::try_from(length).ok());
        // Of what is not packed the length is known; of the rest, the file's word counts.
        let data = match (packing.compression, length) {
            (1, _) => data.get(..need).ok_or(SHORT)?,
            (_, Some(length)) if length > 0 => data.get(..length).ok_or(SHORT)?,
            _ => data,
        };
        let data: Cow<[u8]> = match packing.reversed && packing.compression != 7 {
            true => data.iter().map(|byte| byte.reverse_bits()).collect::<Vec<u8>>().into(),
            false => data.into(),
        };
        let bytes: Cow<[u8]> = match packing.compression {
            1 => data,
            4 => group_four(&data, size.columns, size.needed)?.into(),
            5 => lzw(&data, need)?.into(),
            7 => pictured(&data, packing, size, colour)?.into(),
            32773 => pack_bits(&data, need)?.into(),
            _ => inflated(&data, need)?.into(),
        };
        let differences = packing.differences == 2 && matches!(packing.compression, 5 | 8 | 32946);
        let Size { samples, bits, .. } = size;
        Ok(Chunk { bytes, values, samples, bits, little: packing.little, differences })
    }

    /// Puts the samples of a row into `row`.
    pub(super) fn row(&self, line: usize, row: &mut Vec<u16>) {
        let stride = (self.values * self.bits).div_ceil(8);
        let bytes = &self.bytes[line * stride..][..stride];
        row.clear();
        match self.bits {
            8 => row.extend(bytes.iter().map(|&byte| u16::from(byte))),
            16 if self.little => row.extend(bytes.as_chunks().0.iter().map(|&pair| u16::from_le_bytes(pair))),
            16 => row.extend(bytes.as_chunks().0.iter().map(|&pair| u16::from_be_bytes(pair))),
            bits => row.extend((0..self.values).map(|value| {
                let bit = |at: usize| u16::from(bytes[at / 8] >> (7 - at % 8) & 1);
                (value * bits..(value + 1) * bits).fold(0, |all, at| all << 1 | bit(at))
            })),
        }
        if self.differences {
            for at in self.samples..row.len() {
                let sum = row[at].wrapping_add(row[at - self.samples]);
                row[at] = if self.bits == 8 { sum & 255 } else { sum };
            }
        }
    }
}

fn inflated(data: &[u8], need: usize) -> Result<Vec<u8>, String> {
    let (mut unpacked, mut decoder) = (vec![0; need], ZlibDecoder::new(data));
    decoder.read_exact(&mut unpacked).map_err(|_| DAMAGED)?;
    // At the end of the data stands their sum, which may be cut off.
    match decoder.read(&mut [0]) {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(DAMAGED.into()),
        _ => Ok(unpacked),
    }
}

fn lzw(data: &[u8], need: usize) -> Result<Vec<u8>, String> {
    let mut decoder = Configuration::with_tiff_size_switch(BitOrder::Msb, 8).with_yield_on_full_buffer(true).build();
    let (mut unpacked, mut at, mut filled) = (vec![0; need], 0, 0);
    while filled < need {
        let step = decoder.decode_bytes(&data[at..], &mut unpacked[filled..]);
        (at, filled) = (at + step.consumed_in, filled + step.consumed_out);
        let goes_on = matches!(step.status, Ok(LzwStatus::Ok)) && step.consumed_in + step.consumed_out > 0;
        if !goes_on && filled < need {
            return Err(DAMAGED.into());
        }
    }
    Ok(unpacked)
}

fn pack_bits(data: &[u8], need: usize) -> Result<Vec<u8>, String> {
    let (mut unpacked, mut rest) = (Vec::with_capacity(need), data);
    while unpacked.len() < need {
        let (&count, behind) = rest.split_first().ok_or(DAMAGED)?;
        // 0 to 127: so many bytes and one more; −127 to −1: the next byte so many times and once more.
        let (taken, times) = match count {
            0..=127 => (usize::from(count) + 1, 1),
            128 => (0, 0),
            _ => (1, 257 - usize::from(count)),
        };
        let part = behind.get(..taken).ok_or(DAMAGED)?;
        (0..times).for_each(|_| unpacked.extend(part));
        rest = &behind[taken..];
    }
    unpacked.truncate(need);
    Ok(unpacked)
}

fn group_four(data: &[u8], width: usize, lines: usize) -> Result<Vec<u8>, String> {
    let columns = u16::try_from(width).map_err(|_| DAMAGED)?;
    let (mut unpacked, stride) = (Vec::new(), width.div_ceil(8));
    let input = data.iter().map(|&byte| Ok::<u8, std::convert::Infallible>(byte));
    let mut decoder = fax::decoder::Group4Decoder::new(input, columns).map_err(|_| DAMAGED)?;
    for line in 0..lines {
        match decoder.advance() {
            Ok(fax::decoder::DecodeStatus::Incomplete) => {}
            _ => return Err(DAMAGED.into()),
        }
        unpacked.resize((line + 1) * stride, 0);
        for (x, colour) in fax::decoder::pels(decoder.transition(), columns).enumerate() {
            unpacked[line * stride + x / 8] |= u8::from(colour == fax::Color::Black) << (7 - x % 8);
        }
    }
    Ok(unpacked)
}

/// The samples of a strip or tile that is a JPEG, with tables from elsewhere put before it.
fn pictured(data: &[u8], packing: &Packing, size: Size, colour: jpeg::Colour) -> Result<Vec<u8>, String> {
    let whole = match packing.tables {
        Some([0xFF, 0xD8, tables @ .., 0xFF, 0xD9]) if data.starts_with(&[0xFF, 0xD8]) => {
            [&[0xFF, 0xD8], tables, &data[2..]].concat()
        }
        _ => data.to_vec(),
    };
    let mut head = jpeg::Head::of(&whole)?;
    head.recolour(colour);
    let (columns, rows) = head.size();
    let fits = columns as usize == size.columns && (size.needed..=size.rows).contains(&(rows as usize));
    if !fits || ![1, 3].contains(&size.samples) || head.components() != size.samples {
        return Err("a TIFF whose JPEGs are not of its own size or colours".into());
    }
    Ok(head.decode()?.pixels)
}
