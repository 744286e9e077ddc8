//! The sum of a bucket over ranks. Each rank owns a slice: it receives everyone's contribution to it, adds them in the
//! tree of ranks, and sends the sum to everyone. Other slices' pieces travel meanwhile.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::mpsc::Sender;

use super::{
    collective::Wire,
    halves,
    job::{Job, Next, Slices},
    link::{Lane, Way},
    memory::{Memory, Pool},
    tree,
};
use crate::error::{Error, Result};

/// Bytes of values that travel as one message: long enough for the line, short enough to go on with.
const PIECE: usize = 1 << 20;

/// A piece of this rank's own slice.
#[derive(Debug)]
struct Piece {
    /// What has arrived, by rank.
    arrived: Vec<Option<Memory<f32>>>,
    /// How many contributions are still to come.
    missing: usize,
    /// The sum as halves, where it travels so.
    packed: Option<Memory<f32>>,
}

/// A bucket under way.
#[derive(Debug)]
pub(super) struct Sum {
    rank: usize,
    size: usize,
    wire: Wire,
    number: usize,
    bucket: Memory<f32>,
    slices: Slices,
    pieces: Vec<Piece>,
    /// The next pair of the lanes out and back, and how many each has. Pair `piece * (size - 1) + hop - 1` concerns the
    /// ranks `hop` above and below this one.
    next: [u32; 2],
    pairs: u32,
    under_way: usize,
    /// What messages under way use that is no part of the bucket.
    held: HashMap<(Lane, Way, u32), Memory<f32>>,
    /// The pairs of the lane out whose contribution is still being sent.
    sending: HashSet<u32>,
    answer: Sender<Result<Vec<f32>>>,
}

impl Sum {
    /// A sum of `bucket` with those of the other ranks.
    pub(super) fn new(
        (rank, size): (usize, usize),
        wire: Wire,
        bucket: Vec<f32>,
        answer: Sender<Result<Vec<f32>>>,
    ) -> Self {
        let piece = match wire {
            Wire::F32 => PIECE / 4,
            Wire::F16 => PIECE / 2,
        };
        let slices = Slices::new(bucket.len(), size, piece);
        let own = |piece| Piece {
            arrived: (0..size).map(|_| None).collect(),
            missing: if slices.range(rank, piece).is_empty() { 0 } else { size - 1 },
            packed: None,
        };
        let pieces: Vec<_> = (0..slices.pieces()).map(own).collect();
        let pairs = (pieces.len() * (size - 1)) as u32;
        let (number, bucket) = (bucket.len(), Memory::new(bucket));
        let (next, held, sending) = ([0; 2], HashMap::new(), HashSet::new());
        Self { rank, size, wire, number, bucket, slices, pieces, next, pairs, under_way: 0, held, sending, answer }
    }

    /// The piece that a pair is about, and the ranks that it is sent to and received from.
    fn pair(&self, part: u32) -> (usize, usize, usize) {
        let (piece, hop) = (part as usize / (self.size - 1), part as usize % (self.size - 1) + 1);
        (piece, (self.rank + hop) % self.size, (self.rank + self.size - hop) % self.size)
    }

    /// Adds the contributions to a piece of this rank's slice, in place.
    fn add(&mut self, number: usize, pool: &mut Pool) {
        let range = self.slices.range(self.rank, number);
        let arrived: Vec<_> = self.pieces[number].arrived.iter_mut().map(Option::take).collect();
        let bucket = &self.bucket;
        let mut unpacked = [0.0; tree::BLOCK];
        let fetch = |rank: usize, block: Range<usize>, values: &mut [f32], adds: bool| {
            let halves = self.wire == Wire::F16 && rank != self.rank;
            // SAFETY: no message uses this rank's slice before its sum is there, nor what has arrived.
            let source = match &arrived[rank] {
                None => unsafe { bucket.part(range.start + block.start..range.start + block.end) },
                Some(packed) if halves => {
                    let unpacked = &mut unpacked[..block.len()];
                    halves::unpack(unsafe { packed.part(0..packed.len()) }, block.start, unpacked);
                    unpacked
                }
                Some(contribution) => unsafe { contribution.part(block) },
            };
            match adds {
                true => tree::add(values, source),
                false => values.copy_from_slice(source),
            }
        };
        // SAFETY: as above; a block is stored after it has been read for the last time.
        let store = |block: Range<usize>, sum: &[f32]| unsafe { bucket.write(range.start + block.start, sum) };
        tree::sum_blocks(self.size, range.len(), fetch, store);
        arrived.into_iter().flatten().for_each(|contribution| pool.give(contribution));
        if self.wire == Wire::F16 {
            // Everyone goes on with what travels, this rank too.
            let mut packed = pool.take(halves::words(range.len()));
            // SAFETY: as above.
            unsafe { halves::pack(bucket.part(range.clone()), packed.values_mut()) };
            self.unpack(&packed, range);
            self.pieces[number].packed = Some(packed);
        }
    }

    /// Puts values that travelled as halves into their place.
    fn unpack(&self, packed: &Memory<f32>, range: Range<usize>) {
        let mut block = [0.0; tree::BLOCK];
        for start in (0..range.len()).step_by(tree::BLOCK) {
            let values = &mut block[..(range.len() - start).min(tree::BLOCK)];
            // SAFETY: no message uses these values: of one's own slice before they are sent, of others' never.
            unsafe {
                halves::unpack(packed.part(0..packed.len()), start, values);
                self.bucket.write(range.start + start, values);
            }
        }
    }
}

impl Job for Sum {
    fn next(&mut self, lane: Lane, pool: &mut Pool) -> Next {
        if lane == Lane::Talk {
            return Next::Done;
        }
        let at = lane as usize;
        while self.next[at] < self.pairs {
            let part = self.next[at];
            let (piece, to, from) = self.pair(part);
            let (sent, received) = match lane {
                Lane::Out => (self.slices.range(to, piece), self.slices.range(self.rank, piece)),
                _ => (self.slices.range(self.rank, piece), self.slices.range(from, piece)),
            };
            // The pair in which this rank's contribution goes to the one whose sum comes back here.
            let contributed = (piece * (self.size - 1) + (from + self.size - self.rank) % self.size - 1) as u32;
            let busy = contributed >= self.next[0] || self.sending.contains(&contributed);
            if lane == Lane::Back && (self.pieces[piece].missing > 0 || busy) {
                return Next::Wait;
            }
            self.next[at] += 1;
            let words = |values: usize| if self.wire == Wire::F16 { halves::words(values) } else { values };
            let send = (!sent.is_empty()).then(|| match (self.wire, &self.pieces[piece].packed) {
                (Wire::F32, _) => (to, self.bucket.span(sent)),
                (Wire::F16, Some(packed)) if lane == Lane::Back => (to, packed.span(0..words(sent.len()))),
                (Wire::F16, _) => {
                    let mut packed = pool.take(words(sent.len()));
                    // SAFETY: contributions are read only until their sums come back.
                    unsafe { halves::pack(self.bucket.part(sent.clone()), packed.values_mut()) };
                    let span = packed.span(0..words(sent.len()));
                    self.held.insert((lane, Way::Send, part), packed);
                    (to, span)
                }
            });
            let receive = (!received.is_empty()).then(|| {
                if lane == Lane::Back && self.wire == Wire::F32 {
                    return (from, self.bucket.span(received));
                }
                let buffer = pool.take(words(received.len()));
                let span = buffer.span(0..words(received.len()));
                self.held.insert((lane, Way::Receive, part), buffer);
                (from, span)
            });
            let messages = usize::from(send.is_some()) + usize::from(receive.is_some());
            if messages > 0 {
                self.under_way += messages;
                if lane == Lane::Out && send.is_some() {
                    self.sending.insert(part);
                }
                return Next::Pair { send, receive, part };
            }
        }
        Next::Done
    }

    fn ended(&mut self, lane: Lane, way: Way, part: u32, pool: &mut Pool) {
        self.under_way -= 1;
        if (lane, way) == (Lane::Out, Way::Send) {
            self.sending.remove(&part);
        }
        let Some(held) = self.held.remove(&(lane, way, part)) else { return };
        let (piece, _, from) = self.pair(part);
        match (lane, way) {
            (Lane::Out, Way::Receive) => {
                self.pieces[piece].arrived[from] = Some(held);
                self.pieces[piece].missing -= 1;
                if self.pieces[piece].missing == 0 {
                    self.add(piece, pool);
                }
                return;
            }
            (_, Way::Receive) => self.unpack(&held, self.slices.range(from, piece)),
            (_, Way::Send) => {}
        }
        pool.give(held);
    }

    fn is_complete(&self) -> bool {
        self.next == [self.pairs; 2] && self.under_way == 0
    }

    fn describe(&self) -> String {
        format!("a sum of {} values", self.number)
    }

    fn complete(self: Box<Self>, pool: &mut Pool) {
        self.pieces.into_iter().filter_map(|piece| piece.packed).for_each(|packed| pool.give(packed));
        // Nobody may wait any more.
        let _ = self.answer.send(Ok(self.bucket.into_vec()));
    }

    fn fail(&mut self, why: &str) {
        let _ = self.answer.send(Err(Error::Ranks(why.into())));
    }
}
