//! The segments of a JPEG file (ITU-T T.81, annex B).

use super::huffman::Table;

/// One component of a frame.
#[derive(Clone, Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors: blocks of an interleaved unit, across and down.
    pub(super) h: usize,
    pub(super) v: usize,
    /// Number of its quantisation table.
    pub(super) quantisation: usize,
}

/// How the components of a pixel are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Colour {
    /// One component.
    Grey,
    /// Three components, as in JFIF.
    YCbCr,
    /// Three components.
    Rgb,
    /// Four components, stored inverted.
    Cmyk,
    /// Four components: the first three are YCbCr of inverted CMY.
    Ycck,
}

/// A frame header.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Coefficients come in several scans of growing precision.
    pub(super) progressive: bool,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: Vec<Component>,
    /// The largest sampling factors.
    pub(super) h_max: usize,
    pub(super) v_max: usize,
}

impl Frame {
    /// Interleaved units, across and down.
    pub(super) fn units(&self) -> (usize, usize) {
        (self.width.div_ceil(8 * self.h_max), self.height.div_ceil(8 * self.v_max))
    }

    /// Samples of a component that are in the picture, across and down.
    pub(super) fn samples(&self, of: &Component) -> (usize, usize) {
        ((self.width * of.h).div_ceil(self.h_max), (self.height * of.v).div_ceil(self.v_max))
    }
}

/// A scan header.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// Which component, and its tables for DC and AC.
    pub(super) components: Vec<(usize, usize, usize)>,
    /// First and last coefficient.
    pub(super) from: usize,
    pub(super) to: usize,
    /// The bit that earlier scans reached (0: none), and the one that this scan reaches.
    pub(super) high: u8,
    pub(super) low: u8,
}

/// The tables that segments set.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) quantisation: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Table>; 4],
    pub(super) ac: [Option<Table>; 4],
    /// Units between restart markers; 0 if there are none.
    pub(super) restart: usize,
}

/// A marker, and what it stands before.
pub(super) struct Marker<'b> {
    pub(super) code: u8,
    /// The segment behind it, without its length; none for markers without one.
    pub(super) segment: &'b [u8],
    /// Where what follows begins.
    pub(super) end: usize,
}

pub(super) const SHORT: &str = "the JPEG is cut short";

/// The next marker from `at` on; bytes that belong to none are passed over.
pub(super) fn next(bytes: &[u8], mut at: usize) -> Result<Marker<'_>, String> {
    loop {
        at += bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xFF)).ok_or(SHORT)?;
        let code = *bytes.get(at + 1).ok_or(SHORT)?;
        match code {
            0 => at += 2,
            0xFF => at += 1,
            0x01 | 0xD0..=0xD9 => return Ok(Marker { code, segment: &[], end: at + 2 }),
            _ => {
                let length = bytes.get(at + 2..at + 4).ok_or(SHORT)?;
                let end = at + 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
                // A length counts its own two bytes.
                let segment = bytes.get(at + 4..end).ok_or(SHORT)?;
                return Ok(Marker { code, segment, end });
            }
        }
    }
}

/// The zigzag order: the place in a block, row by row, of each coefficient of a file.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

fn damaged(segment: &str) -> String {
    format!("the JPEG's {segment} is damaged")
}

impl Tables {
    /// Takes over a segment that sets tables; other markers set none.
    pub(super) fn set(&mut self, marker: &Marker) -> Result<(), String> {
        let segment = marker.segment;
        match marker.code {
            0xC4 => self.huffman(segment).ok_or_else(|| damaged("Huffman table")),
            0xDB => self.quantisation(segment).ok_or_else(|| damaged("quantisation table")),
            0xDD => {
                let interval = segment.first_chunk::<2>().ok_or_else(|| damaged("restart interval"))?;
                self.restart = usize::from(u16::from_be_bytes(*interval));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let symbols = rest.get(..counts.iter().map(|&count| usize::from(count)).sum())?;
            let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(kind & 15)).filter(|_| kind >> 4 < 2)? = Some(Table::new(counts, symbols)?);
            segment = &rest[symbols.len()..];
        }
        Some(())
    }

    fn quantisation(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = segment.split_first() {
            let size = match kind >> 4 {
                0 => 1,
                1 => 2,
                _ => return None,
            };
            let values = rest.get(..64 * size)?;
            let mut table = [0; 64];
            for (value, &place) in values.chunks_exact(size).zip(&ZIGZAG) {
                table[usize::from(place)] = value.iter().fold(0, |all, &byte| all << 8 | u16::from(byte));
            }
            *self.quantisation.get_mut(usize::from(kind & 15))? = Some(table);
            segment = &rest[64 * size..];
        }
        Some(())
    }
}

/// A frame header, if the picture is one that is read: Huffman codes, 8 bits, one, three or four components.
pub(super) fn frame(marker: &Marker) -> Result<Frame, String> {
    match marker.code {
        0xC0..=0xC2 => {}
        0xC9..=0xCB | 0xCD..=0xCF => return Err("a JPEG in arithmetic coding, which is not read".into()),
        0xC3 => return Err("a lossless JPEG, which is not read".into()),
        _ => return Err("a hierarchical JPEG, which is not read".into()),
    }
    let segment = marker.segment;
    let &[bits, h1, h0, w1, w0, count, ref components @ ..] = segment else { return Err(damaged("frame header")) };
    if bits != 8 {
        return Err(format!("a JPEG of {bits} bits a sample; 8 are read"));
    }
    if ![1, 3, 4].contains(&count) {
        return Err(format!("a JPEG of {count} components; 1, 3 and 4 are read"));
    }
    let (width, height) = (u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into());
    if width == 0 {
        return Err(format!("{width}×{height} pixels are none"));
    }
    if height == 0 {
        return Err("a JPEG that tells its height at its end (DNL), which is not read".into());
    }
    let components: Vec<Component> = components
        .chunks_exact(3)
        .take(count.into())
        .map(|part| Component {
            id: part[0],
            h: usize::from(part[1] >> 4),
            v: usize::from(part[1] & 15),
            quantisation: usize::from(part[2]),
        })
        .collect();
    let sound = |part: &Component| (1..=4).contains(&part.h) && (1..=4).contains(&part.v) && part.quantisation < 4;
    if components.len() != usize::from(count) || !components.iter().all(sound) {
        return Err(damaged("frame header"));
    }
    let h_max = components.iter().map(|part| part.h).max().unwrap_or(1);
    let v_max = components.iter().map(|part| part.v).max().unwrap_or(1);
    if components.iter().any(|part| h_max % part.h != 0 || v_max % part.v != 0) {
        let factors: Vec<String> = components.iter().map(|part| format!("{}×{}", part.h, part.v)).collect();
        return Err(format!("a JPEG of sampling factors {}, which do not divide each other", factors.join(", ")));
    }
    Ok(Frame { progressive: marker.code == 0xC2, width, height, components, h_max, v_max })
}

/// A scan header.
pub(super) fn scan(segment: &[u8], frame: &Frame) -> Result<Scan, String> {
    let parse = || {
        let (&count, rest) = segment.split_first()?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(count))?;
        let &[from, to, bits, ..] = rest else { return None };
        let mut components: Vec<(usize, usize, usize)> = Vec::new();
        for part in parts.chunks_exact(2) {
            // In the frame's order, as the standard asks; where names repeat, libjpeg takes the next one.
            let first = components.len();
            let which = first + frame.components.get(first..)?.iter().position(|other| other.id == part[0])?;
            let (dc, ac) = (usize::from(part[1] >> 4), usize::from(part[1] & 15));
            if dc > 3 || ac > 3 || components.iter().any(|&(other, ..)| other == which) {
                return None;
            }
            components.push((which, dc, ac));
        }
        let (from, to, high, low) = (usize::from(from), usize::from(to), bits >> 4, bits & 15);
        if components.is_empty() {
            return None;
        }
        if !frame.progressive {
            // A sequential scan has all coefficients, whatever its header says.
            return Some(Scan { components, from: 0, to: 63, high: 0, low: 0 });
        }
        let whole = if from == 0 { to == 0 } else { from <= to && to < 64 && components.len() == 1 };
        let follows = low <= 13 && (high == 0 || high == low + 1);
        (whole && follows).then_some(Scan { components, from, to, high, low })
    };
    let scan = parse().ok_or_else(|| damaged("scan header"))?;
    let blocks = |&(which, ..): &(usize, usize, usize)| frame.components[which].h * frame.components[which].v;
    if scan.components.len() > 1 && scan.components.iter().map(blocks).sum::<usize>() > 10 {
        return Err("a JPEG of more than 10 blocks a unit, which the standard forbids".into());
    }
    Ok(scan)
}

/// What the segments before the frame say of its colours.
#[derive(Default)]
pub(super) struct Hints {
    pub(super) jfif: bool,
    /// The transform of an Adobe marker.
    pub(super) adobe: Option<u8>,
}

impl Hints {
    pub(super) fn take(&mut self, marker: &Marker) {
        let segment = marker.segment;
        match marker.code {
            0xE0 if segment.len() >= 14 && segment.starts_with(b"JFIF\0") => self.jfif = true,
            0xEE if segment.len() >= 12 && segment.starts_with(b"Adobe") => self.adobe = Some(segment[11]),
            _ => {}
        }
    }

    /// The colours as libjpeg decides: a JFIF marker first, then Adobe's, then the names of the components.
    pub(super) fn colour(&self, frame: &Frame) -> Colour {
        let names: Vec<u8> = frame.components.iter().map(|part| part.id).collect();
        match (names.len(), self.jfif, self.adobe) {
            (1, ..) => Colour::Grey,
            (3, true, _) => Colour::YCbCr,
            (3, _, Some(0)) => Colour::Rgb,
            (3, _, None) if names == *b"RGB" => Colour::Rgb,
            (3, ..) => Colour::YCbCr,
            (_, _, None | Some(0)) => Colour::Cmyk,
            _ => Colour::Ycck,
        }
    }
}
