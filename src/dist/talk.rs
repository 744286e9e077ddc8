//! Gathering and broadcasting bytes. Lengths go first, then the bytes in pieces.

use std::{collections::VecDeque, sync::mpsc::Sender};

use super::{
    job::{Job, Next, Slices},
    link::{Lane, Way},
    memory::{Memory, Pool, Span},
};
use crate::error::{Error, Result};

/// Bytes that travel as one message.
const PIECE: usize = 1 << 20;

/// A rank and bytes for it or from it.
type End = Option<(usize, Span)>;

/// Pairs of messages to be made one after another.
#[derive(Debug, Default)]
struct Pairs {
    queue: VecDeque<(End, End)>,
    under_way: usize,
}

impl Pairs {
    fn push(&mut self, send: End, receive: End) {
        let filled = |end: End| end.filter(|(_, span)| span.len() > 0);
        let (send, receive) = (filled(send), filled(receive));
        if send.is_some() || receive.is_some() {
            self.queue.push_back((send, receive));
        }
    }

    fn next(&mut self) -> Option<Next> {
        let (send, receive) = self.queue.pop_front()?;
        self.under_way += usize::from(send.is_some()) + usize::from(receive.is_some());
        Some(Next::Pair { send, receive, part: 0 })
    }

    fn are_done(&self) -> bool {
        self.queue.is_empty() && self.under_way == 0
    }
}

/// Where this rank stands, and the ranks some hops above and below it.
#[derive(Clone, Copy, Debug)]
struct Place {
    rank: usize,
    size: usize,
}

impl Place {
    fn neighbours(self) -> impl Iterator<Item = (usize, usize)> {
        let Place { rank, size } = self;
        (1..size).map(move |hop| ((rank + hop) % size, (rank + size - hop) % size))
    }
}

/// Everyone's bytes on their way to everyone.
#[derive(Debug)]
pub(super) struct Gather {
    place: Place,
    pairs: Pairs,
    /// Everyone's length.
    lengths: Memory<u64>,
    /// Everyone's bytes, once the lengths are known.
    bytes: Vec<Memory<u8>>,
    own: Option<Memory<u8>>,
    answer: Sender<Result<Vec<Vec<u8>>>>,
}

impl Gather {
    /// Gathers everyone's bytes; these are this rank's.
    pub(super) fn new((rank, size): (usize, usize), own: Vec<u8>, answer: Sender<Result<Vec<Vec<u8>>>>) -> Self {
        let place = Place { rank, size };
        let mut lengths = vec![0; size];
        lengths[rank] = own.len() as u64;
        let (lengths, mut pairs) = (Memory::new(lengths), Pairs::default());
        for (to, from) in place.neighbours() {
            pairs.push(Some((to, lengths.span(rank..rank + 1))), Some((from, lengths.span(from..from + 1))));
        }
        let mut gather = Self { place, pairs, lengths, bytes: Vec::new(), own: Some(Memory::new(own)), answer };
        gather.go_on();
        gather
    }

    /// Begins with the bytes when the lengths are there.
    fn go_on(&mut self) {
        let Some(own) = self.own.take_if(|_| self.pairs.are_done()) else { return };
        let mut lengths = vec![0; self.place.size];
        // SAFETY: no message is under way.
        unsafe { self.lengths.read(0, &mut lengths) };
        let mut own = Some(own);
        let fresh = |(rank, length): (usize, u64)| match own.take_if(|_| rank == self.place.rank) {
            Some(own) => own,
            None => Memory::new(vec![0; length as usize]),
        };
        self.bytes = lengths.into_iter().enumerate().map(fresh).collect();
        for (to, from) in self.place.neighbours() {
            let (sent, received) = (&self.bytes[self.place.rank], &self.bytes[from]);
            let part =
                |bytes: &Memory<u8>, start: usize| bytes.span(start.min(bytes.len())..(start + PIECE).min(bytes.len()));
            for start in (0..sent.len().max(received.len())).step_by(PIECE) {
                self.pairs.push(Some((to, part(sent, start))), Some((from, part(received, start))));
            }
        }
    }
}

impl Job for Gather {
    fn next(&mut self, lane: Lane, _: &mut Pool) -> Next {
        let end = if self.own.is_some() { Next::Wait } else { Next::Done };
        if lane == Lane::Talk { self.pairs.next().unwrap_or(end) } else { Next::Done }
    }

    fn ended(&mut self, _: Lane, _: Way, _: u32, _: &mut Pool) {
        self.pairs.under_way -= 1;
        self.go_on();
    }

    fn is_complete(&self) -> bool {
        self.own.is_none() && self.pairs.are_done()
    }

    fn describe(&self) -> String {
        "a gathering of everyone's words".into()
    }

    fn complete(self: Box<Self>, _: &mut Pool) {
        // Nobody may wait any more.
        let _ = self.answer.send(Ok(self.bytes.into_iter().map(Memory::into_vec).collect()));
    }

    fn fail(&mut self, why: &str) {
        let _ = self.answer.send(Err(Error::Ranks(why.into())));
    }
}

/// What a broadcast does before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The root tells everyone the length.
    Length,
    /// The root sends each rank its slice.
    Scatter,
    /// Each rank sends its slice to everyone.
    Spread,
}

/// One rank's bytes on their way to everyone: a slice to each, and from there to all, so that the root's line carries
/// them twice and not once for each rank.
#[derive(Debug)]
pub(super) struct Broadcast {
    place: Place,
    root: usize,
    stage: Stage,
    pairs: Pairs,
    length: Memory<u64>,
    bytes: Memory<u8>,
    answer: Sender<Result<Vec<u8>>>,
}

impl Broadcast {
    /// Sends everyone the bytes of rank `root`; what others pass is dropped.
    pub(super) fn new(
        (rank, size): (usize, usize),
        root: usize,
        bytes: Vec<u8>,
        answer: Sender<Result<Vec<u8>>>,
    ) -> Self {
        let (length, bytes) = (Memory::new(vec![bytes.len() as u64]), Memory::new(bytes));
        let (place, stage) = (Place { rank, size }, Stage::Length);
        let mut broadcast = Self { place, root, stage, pairs: Pairs::default(), length, bytes, answer };
        for (to, from) in place.neighbours() {
            broadcast.root_pair(to, from, broadcast.length.span(0..1), broadcast.length.span(0..1));
        }
        broadcast.go_on();
        broadcast
    }

    /// A pair of the root with another rank.
    fn root_pair(&mut self, to: usize, from: usize, sent: Span, received: Span) {
        let (rank, root) = (self.place.rank, self.root);
        self.pairs.push((rank == root).then_some((to, sent)), (from == root).then_some((from, received)));
    }

    fn go_on(&mut self) {
        while self.pairs.are_done() && self.stage != Stage::Spread {
            if self.stage == Stage::Length {
                let mut length = [0];
                // SAFETY: no message is under way.
                unsafe { self.length.read(0, &mut length) };
                if self.place.rank != self.root {
                    self.bytes = Memory::new(vec![0; length[0] as usize]);
                }
            }
            let Place { rank, size } = self.place;
            let slices = Slices::new(self.bytes.len(), size, PIECE);
            self.stage = if self.stage == Stage::Length { Stage::Scatter } else { Stage::Spread };
            for piece in 0..slices.pieces() {
                for (to, from) in self.place.neighbours() {
                    let span = |rank| self.bytes.span(slices.range(rank, piece));
                    match self.stage {
                        Stage::Scatter => self.root_pair(to, from, span(to), span(rank)),
                        // The root has everything.
                        _ => {
                            let send = (to != self.root).then(|| (to, span(rank)));
                            let receive = (rank != self.root).then(|| (from, span(from)));
                            self.pairs.push(send, receive);
                        }
                    }
                }
            }
        }
    }
}

impl Job for Broadcast {
    fn next(&mut self, lane: Lane, _: &mut Pool) -> Next {
        let end = if self.stage == Stage::Spread { Next::Done } else { Next::Wait };
        if lane == Lane::Talk { self.pairs.next().unwrap_or(end) } else { Next::Done }
    }

    fn ended(&mut self, _: Lane, _: Way, _: u32, _: &mut Pool) {
        self.pairs.under_way -= 1;
        self.go_on();
    }

    fn is_complete(&self) -> bool {
        self.stage == Stage::Spread && self.pairs.are_done()
    }

    fn describe(&self) -> String {
        format!("a broadcast of rank {}", self.root)
    }

    fn complete(self: Box<Self>, _: &mut Pool) {
        let _ = self.answer.send(Ok(self.bytes.into_vec()));
    }

    fn fail(&mut self, why: &str) {
        let _ = self.answer.send(Err(Error::Ranks(why.into())));
    }
}
