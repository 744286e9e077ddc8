//! Huffman codes and the bits of a scan (ITU-T T.81, annexes C and F).

/// Why no value was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The data of the scan end here.
    Short,
    /// No code is so.
    Damaged,
}

/// Codes of at most so many bits are looked up at once, and so is a code with its value.
const SHORT_CODE: u32 = 10;

/// A Huffman table.
pub(super) struct Table {
    /// By the next bits: length of the code and its symbol; length 0 for longer codes.
    short: [(u8, u8); 1 << SHORT_CODE],
    /// By the next bits, where a code and the value behind it are short together: their length, the code's symbol and
    /// the value; length 0 for others.
    values: [(u8, u8, i16); 1 << SHORT_CODE],
    /// For each length: one more than its largest code, and what to add to a code for its symbol's number.
    limits: [(i32, i32); 17],
    symbols: Vec<u8>,
}

impl Table {
    /// The table of so many codes of each length from 1 to 16, and their symbols. None if that is no code.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Table> {
        let mut table = Table {
            short: [(0, 0); 1 << SHORT_CODE],
            values: [(0, 0, 0); 1 << SHORT_CODE],
            limits: [(0, 0); 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut number) = (0i32, 0i32);
        for (length, &count) in (1..).zip(counts) {
            let first = code;
            for _ in 0..count {
                if length <= SHORT_CODE {
                    let from = (code as usize) << (SHORT_CODE - length);
                    let to = (code as usize + 1) << (SHORT_CODE - length);
                    table.short.get_mut(from..to)?.fill((length as u8, symbols[number as usize]));
                }
                (code, number) = (code + 1, number + 1);
            }
            // No code is all ones.
            if code >= 1 << length {
                return None;
            }
            table.limits[length as usize] = (code, number - i32::from(count) - first);
            code <<= 1;
        }
        for (bits, (entry, &(length, symbol))) in (0u64..).zip(table.values.iter_mut().zip(&table.short)) {
            let together = length + (symbol & 15);
            if length > 0 && u32::from(together) <= SHORT_CODE {
                let rest = (bits << (64 - SHORT_CODE)) << length;
                *entry = (together, symbol, signed(rest, (symbol & 15).into()) as i16);
            }
        }
        Some(table)
    }
}

/// The value of the first `size` bits. Values that begin with 0 are negative.
#[inline(always)]
fn signed(bits: u64, size: u32) -> i32 {
    let value = ((bits >> 1) >> (63 - size)) as i32;
    if bits >> 63 == 0 { value.wrapping_add(1).wrapping_sub(1 << size) } else { value }
}

/// Whether one of four bytes is 255: adding one to it carries into its highest bit.
#[inline(always)]
fn has_ff(four: [u8; 4]) -> bool {
    let all = u32::from_ne_bytes(four);
    !all.wrapping_add(0x0101_0101) & all & 0x8080_8080 != 0
}

/// The bits of a scan from a place on, to the next marker.
#[derive(Clone, Copy)]
pub(super) struct Bits<'b> {
    bytes: &'b [u8],
    at: usize,
    /// The next `held` bits, the first one highest.
    buffer: u64,
    held: u32,
}

impl<'b> Bits<'b> {
    pub(super) fn new(bytes: &'b [u8], at: usize) -> Bits<'b> {
        Bits { bytes, at, buffer: 0, held: 0 }
    }

    /// Takes in bytes until there are 32 bits or more, or no more before the next marker.
    #[inline(always)]
    fn fill(&mut self) {
        if self.held >= 32 {
            return;
        }
        // Four bytes at once where none is the first of two.
        match self.bytes[self.at..].first_chunk::<4>() {
            Some(&four) if !has_ff(four) => {
                self.buffer |= u64::from(u32::from_be_bytes(four)) << (32 - self.held);
                (self.held, self.at) = (self.held.wrapping_add(32), self.at.wrapping_add(4));
            }
            _ => self.fill_singly(),
        }
    }

    #[cold]
    fn fill_singly(&mut self) {
        while self.held <= 56 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            if byte == 0xFF {
                match self.bytes.get(self.at + 1) {
                    Some(0) => self.at += 1,
                    // A fill byte before a marker.
                    Some(0xFF) => {
                        self.at += 1;
                        continue;
                    }
                    _ => return,
                }
            }
            self.at += 1;
            self.buffer |= u64::from(byte) << (56 - self.held);
            self.held += 8;
        }
    }

    #[inline(always)]
    fn drop(&mut self, bits: u32) -> Result<(), Fault> {
        if bits > self.held {
            return Err(Fault::Short);
        }
        self.buffer <<= bits;
        self.held -= bits;
        Ok(())
    }

    /// The next code's length and symbol.
    #[inline(always)]
    fn code(&self, table: &Table) -> Result<(u32, u8), Fault> {
        match table.short[(self.buffer >> (64 - SHORT_CODE)) as usize] {
            (0, _) => self.long_code(table),
            (length, symbol) => Ok((length.into(), symbol)),
        }
    }

    #[cold]
    fn long_code(&self, table: &Table) -> Result<(u32, u8), Fault> {
        for length in SHORT_CODE + 1..=16 {
            let code = (self.buffer >> (64 - length)) as i32;
            let (limit, number) = table.limits[length as usize];
            if code < limit {
                let symbol = table.symbols.get((code + number) as usize).copied().ok_or(Fault::Damaged)?;
                return Ok((length, symbol));
            }
        }
        Err(if self.held < 16 { Fault::Short } else { Fault::Damaged })
    }

    /// The next code's symbol.
    #[inline]
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, Fault> {
        self.fill();
        let (length, symbol) = self.code(table)?;
        self.drop(length)?;
        Ok(symbol)
    }

    /// The next code's symbol and the value behind it, of as many bits as the symbol's lower half says.
    #[inline(always)]
    pub(super) fn symbol_and_value(&mut self, table: &Table) -> Result<(u8, i32), Fault> {
        self.fill();
        let (together, symbol, value) = table.values[(self.buffer >> (64 - SHORT_CODE)) as usize];
        if together > 0 {
            self.drop(together.into())?;
            return Ok((symbol, value.into()));
        }
        let (length, symbol) = self.code(table)?;
        let size = u32::from(symbol & 15);
        let rest = self.buffer << length;
        self.drop(length.wrapping_add(size))?;
        Ok((symbol, signed(rest, size)))
    }

    /// The next `count` bits, at most 16.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Result<i32, Fault> {
        if count == 0 {
            return Ok(0);
        }
        self.fill();
        let value = (self.buffer >> (64 - count)) as i32;
        self.drop(count)?;
        Ok(value)
    }

    /// Goes to what follows the next marker, which must be the restart marker `number`.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), Fault> {
        let end = self.marker().ok_or(Fault::Short)?;
        match self.bytes[end + 1] {
            code if code == 0xD0 + number => *self = Bits::new(self.bytes, end + 2),
            0xD0..=0xD7 => return Err(Fault::Damaged),
            _ => return Err(Fault::Short),
        }
        Ok(())
    }

    /// Where the next marker is.
    fn marker(&self) -> Option<usize> {
        let pair = |pair: &[u8]| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF);
        Some(self.at + self.bytes.get(self.at..)?.windows(2).position(pair)?)
    }

    /// Where the first byte is of which no bit was read.
    pub(super) fn place(&self) -> usize {
        // Bytes held came from behind `at`, some of them escaped.
        let (mut at, mut bytes) = (self.at, self.held / 8);
        while bytes > 0 && at > 0 {
            at -= if at >= 2 && self.bytes[at - 2..at] == [0xFF, 0] { 2 } else { 1 };
            bytes -= 1;
        }
        at
    }
}
