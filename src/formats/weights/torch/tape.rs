//! The bytes of pickles.

use crate::formats::weights::source::ReadAt;

/// Longest run of pickles that is read, in bytes: what lies between tensors takes a hundredth of it.
pub(super) const MOST_BYTES: u64 = 64 << 20;

/// Longest line: the name of a module or of a class.
const MOST_LINE: usize = 512;

/// What is read at once at least, in bytes.
const PIECE: usize = 1 << 16;

/// A place in a [`Tape`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

/// Bytes that are read from the front on; those of a file are fetched when they are needed.
pub(super) struct Tape<'a> {
    bytes: Vec<u8>,
    source: Option<&'a dyn ReadAt>,
    at: usize,
    end: usize,
}

impl<'a> Tape<'a> {
    /// All of some bytes, of which there are at most [`MOST_BYTES`].
    pub(super) fn of(bytes: Vec<u8>) -> Tape<'a> {
        Tape { end: bytes.len(), bytes, source: None, at: 0 }
    }

    /// The beginning of a file.
    pub(super) fn over(source: &'a dyn ReadAt) -> Tape<'a> {
        Tape { bytes: Vec::new(), source: Some(source), at: 0, end: source.len().min(MOST_BYTES) as usize }
    }

    /// How many bytes were taken.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> u64 {
        (self.end - self.at) as u64
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, count: u64) -> Result<Span, String> {
        if count > self.left() {
            return Err(format!("it is cut short, or longer than {MOST_BYTES} bytes"));
        }
        let start = self.at;
        self.at += count as usize;
        self.fetch(self.at)?;
        Ok(Span { start: start as u32, length: count as u32 })
    }

    /// Takes the next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let span = self.take(N as u64)?;
        Ok(self.bytes(span).try_into().expect("as many bytes"))
    }

    /// Takes a line, and leaves out its end.
    pub(super) fn line(&mut self) -> Result<Span, String> {
        let start = self.at;
        while self.at - start < MOST_LINE {
            let [byte] = self.array()?;
            if byte == b'\n' {
                return Ok(Span { start: start as u32, length: (self.at - 1 - start) as u32 });
            }
        }
        Err(format!("a name of more than {MOST_LINE} bytes"))
    }

    /// The bytes of a span that was taken.
    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..][..span.length as usize]
    }

    fn fetch(&mut self, to: usize) -> Result<(), String> {
        let held = self.bytes.len();
        let Some(source) = self.source.filter(|_| to > held) else { return Ok(()) };
        let to = to.max(2 * held).max(PIECE).min(self.end);
        self.bytes.resize(to, 0);
        source.read_at(held as u64, &mut self.bytes[held..]).map_err(|error| error.to_string())
    }
}
