//! An operation as a list of messages.

use std::ops::Range;

use super::{
    link::{Lane, Way},
    memory::{Pool, Span},
};

/// What an operation does next on a lane.
#[derive(Debug)]
pub(super) enum Next {
    /// Sends bytes to a rank and receives bytes from one; at least one of the two.
    Pair {
        send: Option<(usize, Span)>,
        receive: Option<(usize, Span)>,
        /// Comes back with the messages when they have ended.
        part: u32,
    },
    /// Waits for messages that are under way.
    Wait,
    /// It has nothing more for this lane.
    Done,
}

/// An operation under way on this rank.
///
/// Each lane's pairs are numbered equally on all ranks: what a rank sends in its pair n, the receiver awaits in its own
/// pair n, and a pair waits for earlier ones only. Hence the earliest pair that has not ended can always go on, and
/// limits on what is under way cannot lock ranks up.
pub(super) trait Job {
    /// The next pair on a lane.
    fn next(&mut self, lane: Lane, pool: &mut Pool) -> Next;

    /// A message has ended.
    fn ended(&mut self, lane: Lane, way: Way, part: u32, pool: &mut Pool);

    /// Whether nothing is left to do.
    fn is_complete(&self) -> bool;

    /// What it is, for messages: `a sum of 5 values`.
    fn describe(&self) -> String;

    /// Hands the result to whoever waits for it.
    fn complete(self: Box<Self>, pool: &mut Pool);

    /// Tells whoever waits that there is no result.
    fn fail(&mut self, why: &str);
}

/// How values are divided among ranks, each slice in pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slices {
    len: usize,
    slice: usize,
    piece: usize,
}

impl Slices {
    /// Slices begin at multiples of this many values.
    const ALIGNED: usize = 64;

    /// Divides `len` values among `size` ranks. Pieces have at most `piece` values.
    pub(super) fn new(len: usize, size: usize, piece: usize) -> Self {
        Self { len, slice: len.div_ceil(size).next_multiple_of(Self::ALIGNED), piece }
    }

    /// How many pieces the longest slice has.
    pub(super) fn pieces(&self) -> usize {
        self.slice.min(self.len).div_ceil(self.piece)
    }

    /// The values of a piece of a rank's slice; beyond the slice's end none.
    pub(super) fn range(&self, rank: usize, piece: usize) -> Range<usize> {
        let end = ((rank + 1) * self.slice).min(self.len);
        let start = (rank * self.slice + piece * self.piece).min(end);
        start..(start + self.piece).min(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_slices_cover_every_value_once() {
        for len in [0, 1, 63, 64, 65, 1000, 4096, 100_000] {
            for size in [1, 2, 3, 5, 8] {
                for piece in [1, 100, 1 << 18] {
                    let slices = Slices::new(len, size, piece);
                    let mut next = 0;
                    for rank in 0..size {
                        for range in (0..slices.pieces()).map(|piece| slices.range(rank, piece)) {
                            assert!(range.len() <= piece && (range.is_empty() || range.start == next), "{range:?}");
                            next += range.len();
                        }
                        assert!(slices.range(rank, slices.pieces()).is_empty());
                    }
                    assert_eq!(next, len);
                }
            }
        }
    }
}
