//! A group of threads in one process: everything but the carrying of messages is as between processes.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::{
    collective::Settings,
    host,
    link::{Lane, Link, Message, Trouble, Way, Whereabouts},
    member::Member,
};
use crate::error::Result;

/// Delays of messages, to see that nothing depends on what arrives first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// Other seeds give other delays.
    pub seed: u64,
    /// The longest one.
    pub longest: Duration,
}

/// The ends of a group of `size` ranks, at least one, each to be given to a thread of its own. All are on one host.
pub fn world(size: usize, settings: Settings, delays: Option<Delays>) -> Result<Vec<Member>> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..size).map(|_| channel()).unzip();
    let join = |(rank, receiver)| {
        let link = Post {
            rank,
            senders: senders.clone(),
            receiver,
            arrived: HashMap::new(),
            gone: vec![None; size],
            under_way: Vec::new(),
            sent: Vec::new(),
            askers: Vec::new(),
            answers: vec![None; size],
            delays,
            random: delays.map_or(0, |delays| delays.seed ^ (rank as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1,
        };
        let mut member = Member::start(move || Ok(link), host::name(), settings, "")?;
        member.meet(vec![host::name(); size])?;
        Ok(member)
    };
    receivers.into_iter().enumerate().map(join).collect()
}

/// What travels between threads.
enum Parcel {
    Bytes {
        lane: Lane,
        bytes: Vec<u8>,
        due: Option<Instant>,
    },
    Ask,
    Answer(Whereabouts),
    /// The sender has left, and why.
    Gone(String),
}

/// Bytes, and from when on they count as arrived.
type Arrived = (Vec<u8>, Option<Instant>);

/// The messages of a thread.
struct Post {
    rank: usize,
    senders: Vec<Sender<(usize, Parcel)>>,
    receiver: Receiver<(usize, Parcel)>,
    /// By sender and lane.
    arrived: HashMap<(usize, Lane), VecDeque<Arrived>>,
    gone: Vec<Option<String>>,
    under_way: Vec<Message>,
    sent: Vec<Message>,
    askers: Vec<usize>,
    answers: Vec<Option<Whereabouts>>,
    delays: Option<Delays>,
    random: u64,
}

impl Post {
    fn send(&self, to: usize, parcel: Parcel) {
        // One who has gone needs it no more.
        let _ = self.senders[to].send((self.rank, parcel));
    }

    fn due(&mut self) -> Option<Instant> {
        let Delays { longest, .. } = self.delays?;
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Some(Instant::now() + longest.mul_f64((self.random >> 11) as f64 / (1_u64 << 53) as f64))
    }

    fn take_parcels(&mut self) {
        while let Ok((from, parcel)) = self.receiver.try_recv() {
            match parcel {
                Parcel::Bytes { lane, bytes, due } => {
                    self.arrived.entry((from, lane)).or_default().push_back((bytes, due));
                }
                Parcel::Ask => self.askers.push(from),
                Parcel::Answer(whereabouts) => self.answers[from] = Some(whereabouts),
                Parcel::Gone(why) => drop(self.gone[from].get_or_insert(why)),
            }
        }
    }
}

impl Link for Post {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.senders.len()
    }

    unsafe fn begin(&mut self, message: Message) -> Result<(), Trouble> {
        if message.way == Way::Receive {
            self.under_way.push(message);
            return Ok(());
        }
        let due = self.due();
        // SAFETY: the memory lives, and nothing writes what is to be sent.
        let bytes = unsafe { message.span.to_vec() };
        self.send(message.peer, Parcel::Bytes { lane: message.lane, bytes, due });
        self.sent.push(message);
        Ok(())
    }

    fn poll(&mut self, ended: &mut Vec<Message>) -> Result<(), Trouble> {
        self.take_parcels();
        ended.append(&mut self.sent);
        let now = Instant::now();
        let mut trouble = None;
        self.under_way.retain(|message| {
            let queue = self.arrived.entry((message.peer, message.lane)).or_default();
            let Some((bytes, _)) = queue.pop_front_if(|(_, due)| due.is_none_or(|due| due <= now)) else {
                if let Some(why) = self.gone[message.peer].as_ref().filter(|_| queue.is_empty()) {
                    trouble.get_or_insert_with(|| (message.peer, format!("has left: {why}")));
                }
                return true;
            };
            if bytes.len() != message.span.len() {
                let (sent, awaited) = (bytes.len(), message.span.len());
                let what = format!("sent {sent} bytes where {awaited} were awaited: it is out of step");
                trouble.get_or_insert((message.peer, what));
                return true;
            }
            // SAFETY: the memory lives, and nobody else uses what is to be received.
            unsafe { message.span.fill(&bytes) };
            ended.push(*message);
            false
        });
        trouble.map_or(Ok(()), |(peer, what)| Err(Trouble { peer: Some(peer), what }))
    }

    fn under_way(&self) -> &[Message] {
        &self.under_way
    }

    fn ask(&mut self) {
        self.answers.fill(None);
        (0..self.size()).filter(|peer| *peer != self.rank).for_each(|peer| self.send(peer, Parcel::Ask));
    }

    fn answer(&mut self, whereabouts: impl FnOnce() -> Whereabouts) {
        if !self.askers.is_empty() {
            let whereabouts = whereabouts();
            for asker in std::mem::take(&mut self.askers) {
                self.send(asker, Parcel::Answer(whereabouts.clone()));
            }
        }
    }

    fn answers(&self) -> &[Option<Whereabouts>] {
        &self.answers
    }

    fn leave(&mut self, why: Option<&str>, _: Duration) {
        let why = why.unwrap_or("it has ended");
        (0..self.size()).filter(|peer| *peer != self.rank).for_each(|peer| self.send(peer, Parcel::Gone(why.into())));
    }

    fn abort(&mut self, _: i32) {}
}

impl Drop for Post {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.leave(Some("its exchange panicked"), Duration::ZERO);
        }
    }
}
