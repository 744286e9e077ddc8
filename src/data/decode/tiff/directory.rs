//! The first directory of a TIFF or BigTIFF file, which EXIF data are too.

/// What a directory says.
pub(in super::super) struct Directory<'b> {
    bytes: &'b [u8],
    little: bool,
    big: bool,
    /// Where its entries stand, and how many there are.
    at: usize,
    count: usize,
}

/// One entry: the type of its values, how many, and their bytes.
pub(in super::super) struct Entry<'b> {
    kind: u16,
    bytes: &'b [u8],
    little: bool,
}

impl<'b> Directory<'b> {
    /// The first directory; none if this is no such file. A directory that the file does not hold is empty.
    pub(in super::super) fn of(bytes: &'b [u8]) -> Option<Directory<'b>> {
        let (little, big) = match bytes.get(..4)? {
            b"II*\0" => (true, false),
            b"MM\0*" => (false, false),
            b"II+\0" => (true, true),
            b"MM\0+" => (false, true),
            _ => return None,
        };
        let mut directory = Directory { bytes, little, big, at: 0, count: 0 };
        let (offset, counted) = if big { (directory.number(8, 8), 8) } else { (directory.number(4, 4), 2) };
        if let Some(at) = offset
            && let Some(count) = directory.number(at, counted)
        {
            (directory.at, directory.count) = (at + counted, count);
        }
        Some(directory)
    }

    pub(super) fn little(&self) -> bool {
        self.little
    }

    /// The unsigned number of `size` bytes at a place. None outside the file, or beyond what a place can be.
    fn number(&self, at: usize, size: usize) -> Option<usize> {
        let value = number(self.bytes.get(at..at.checked_add(size)?)?, self.little);
        usize::try_from(value).ok().filter(|&value| value < usize::MAX / 4)
    }

    /// Bytes of an entry, and of its count and place of values.
    fn sizes(&self) -> (usize, usize) {
        if self.big { (20, 8) } else { (12, 4) }
    }

    /// Whether the file holds all entries.
    pub(super) fn is_whole(&self) -> bool {
        let end = self.count.checked_mul(self.sizes().0).and_then(|length| length.checked_add(self.at));
        self.at > 0 && end.is_some_and(|end| end <= self.bytes.len())
    }

    /// Where the entry of a tag stands. A directory that claims more entries than its file has room for ends with it.
    fn place(&self, tag: u16) -> Option<usize> {
        let mut places = (0..self.count).map_while(|entry| {
            let at = self.at.checked_add(entry.checked_mul(self.sizes().0)?)?;
            self.number(at, 2).map(|found| (at, found))
        });
        places.find(|&(_, found)| found == usize::from(tag)).map(|(at, _)| at)
    }

    /// Whether a tag is there whose values are not in the file, or of no known type.
    pub(super) fn is_cut(&self, tag: u16) -> bool {
        self.place(tag).is_some() && self.entry(tag).is_none()
    }

    /// The entry of a tag, if it is there and its values are in the file.
    pub(in super::super) fn entry(&self, tag: u16) -> Option<Entry<'b>> {
        let (at, wide) = (self.place(tag)?, self.sizes().1);
        let kind = self.number(at + 2, 2)? as u16;
        let length = self.number(at + 4, wide)?.checked_mul(width(kind)?)?;
        let from = if length <= wide { at + 4 + wide } else { self.number(at + 4 + wide, wide)? };
        let bytes = self.bytes.get(from..from.checked_add(length)?)?;
        Some(Entry { kind, bytes, little: self.little })
    }

    /// The unsigned integers of a tag; none if it is not there or has others.
    pub(super) fn integers(&self, tag: u16) -> Option<Vec<u64>> {
        let entry = self.entry(tag)?;
        matches!(entry.kind, 1 | 3 | 4 | 13 | 16 | 18).then(|| entry.parts().collect())
    }

    /// The first unsigned integer of a tag.
    pub(super) fn integer(&self, tag: u16) -> Option<u64> {
        self.integers(tag)?.first().copied()
    }
}

impl<'b> Entry<'b> {
    pub(in super::super) fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    fn parts(&self) -> impl Iterator<Item = u64> {
        self.bytes.chunks_exact(width(self.kind).unwrap_or(1)).map(|part| number(part, self.little))
    }

    /// The first value as a whole number of at most a byte, of whatever type of numbers; bytes and text are none.
    pub(in super::super) fn small(&self) -> Option<u8> {
        let bits = self.parts().next()?;
        let value = match self.kind {
            3 | 4 | 13 | 16 | 18 => bits as f64,
            6 => f64::from(bits as i8),
            8 => f64::from(bits as i16),
            9 => f64::from(bits as i32),
            5 | 10 => {
                let half = |at: usize| number(&self.bytes[at..at + 4], self.little) as u32;
                let (above, below) = (half(0), half(4));
                if self.kind == 5 {
                    f64::from(above) / f64::from(below)
                } else {
                    f64::from(above as i32) / f64::from(below as i32)
                }
            }
            11 => f64::from(f32::from_bits(bits as u32)),
            12 => f64::from_bits(bits),
            _ => return None,
        };
        (value.fract() == 0.0 && (0.0..=255.0).contains(&value)).then_some(value as u8)
    }
}

/// Bytes of a value of a type.
fn width(kind: u16) -> Option<usize> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => return None,
    })
}

fn number(bytes: &[u8], little: bool) -> u64 {
    let add = |all: u64, &byte: &u8| all << 8 | u64::from(byte);
    if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
}
