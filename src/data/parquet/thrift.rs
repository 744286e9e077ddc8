//! Thrift's compact protocol, as far as parquet's structures need it.

/// How deep structures may lie in each other.
const DEEPEST: usize = 32;

/// The types of fields that are told apart here.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A place in the bytes of a structure.
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    /// How many items of lists may still be read, so that they take no more memory than a few times the bytes.
    items: usize,
}

/// The value of a field that has been read.
pub(super) enum Field {
    /// A number, or a switch as 0 or 1.
    Number(i64),
    /// The field's value is to be read by the caller: a text, a list or a structure.
    Open,
}

type Result<T> = std::result::Result<T, String>;

fn short() -> String {
    "its index is cut short or damaged".into()
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes, at: 0, items: bytes.len() / 8 + 64 }
    }

    /// How many bytes have been read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).ok_or_else(short)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(short())
    }

    fn zigzag(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A text or bytes.
    pub(super) fn binary(&mut self) -> Result<&'b [u8]> {
        let length = usize::try_from(self.varint()?).map_err(|_| short())?;
        let end = self.at.checked_add(length).ok_or_else(short)?;
        let bytes = self.bytes.get(self.at..end).ok_or_else(short)?;
        self.at = end;
        Ok(bytes)
    }

    /// A text, with what is no UTF-8 replaced.
    pub(super) fn text(&mut self) -> Result<String> {
        Ok(String::from_utf8_lossy(self.binary()?).into_owned())
    }

    /// The items of a list, each read by `item`.
    pub(super) fn list<T>(&mut self, mut item: impl FnMut(&mut Reader<'b>) -> Result<T>) -> Result<Vec<T>> {
        let (length, _) = self.list_head()?;
        self.items = self.items.checked_sub(length).ok_or_else(short)?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// The length of a list, of which each item has at least a byte, and the type of its items.
    fn list_head(&mut self) -> Result<(usize, u8)> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => usize::try_from(self.varint()?).map_err(|_| short())?,
            few => usize::from(few),
        };
        match length <= self.bytes.len() - self.at {
            true => Ok((length, head & 15)),
            false => Err(short()),
        }
    }

    /// Reads a structure. `take` gets each field's number and value; it says whether it has read an open value, and the
    /// reader passes over those that it has not.
    pub(super) fn structure(
        &mut self,
        mut take: impl FnMut(&mut Reader<'b>, i16, Field) -> Result<bool>,
    ) -> Result<()> {
        let mut number = 0i16;
        loop {
            let head = self.byte()?;
            let kind = head & 15;
            if kind == 0 {
                return Ok(());
            }
            number = match head >> 4 {
                0 => self.zigzag()? as i16,
                step => number.wrapping_add(i16::from(step)),
            };
            match kind {
                TRUE | FALSE => take(self, number, Field::Number(i64::from(kind == TRUE)))?,
                4..=6 => {
                    let value = self.zigzag()?;
                    take(self, number, Field::Number(value))?
                }
                BINARY | LIST | STRUCT => {
                    let before = self.at;
                    let taken = take(self, number, Field::Open)?;
                    if !taken {
                        self.at = before;
                        self.skip(kind, 0)?;
                    }
                    taken
                }
                _ => {
                    self.skip(kind, 0)?;
                    true
                }
            };
        }
    }

    /// Passes over a value.
    fn skip(&mut self, kind: u8, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(short());
        }
        match kind {
            // Switches in lists take a byte; in structures they are part of the field's head and not passed over here.
            TRUE | FALSE | 3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => (0..8).try_for_each(|_| self.byte().map(drop)),
            BINARY => self.binary().map(drop),
            LIST | 10 => {
                let (length, kind) = self.list_head()?;
                (0..length).try_for_each(|_| self.skip(kind, depth + 1))
            }
            11 => {
                let length = self.varint()?;
                let kinds = if length == 0 { 0 } else { self.byte()? };
                (0..length).try_for_each(|_| {
                    self.skip(kinds >> 4, depth + 1)?;
                    self.skip(kinds & 15, depth + 1)
                })
            }
            STRUCT => loop {
                let head = self.byte()?;
                if head & 15 == 0 {
                    return Ok(());
                }
                if head >> 4 == 0 {
                    self.zigzag()?;
                }
                if !matches!(head & 15, TRUE | FALSE) {
                    self.skip(head & 15, depth + 1)?;
                }
            },
            _ => Err(short()),
        }
    }
}
