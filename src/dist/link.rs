//! What an exchange needs of the ground below it: messages of bytes between two ranks, none of which blocks.

use std::time::Duration;

use super::memory::Span;

/// Streams of messages that do not wait for each other. Between two ranks, messages of a lane arrive in the order in
/// which they were sent, and are received in the order in which that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Contributions on their way to the rank that adds them.
    Out,
    /// Sums on their way to everyone.
    Back,
    /// Everything else.
    Talk,
}

/// All lanes, in the order of their numbers.
pub(super) const LANES: [Lane; 3] = [Lane::Out, Lane::Back, Lane::Talk];

/// Which way a message goes, seen from this rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    /// To the other rank.
    Send,
    /// From the other rank.
    Receive,
}

/// A message under way. Its bytes are at least one; both sides know how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) lane: Lane,
    pub(super) way: Way,
    /// The other rank.
    pub(super) peer: usize,
    pub(super) span: Span,
    /// The operation that it belongs to, and what it is there.
    pub(super) job: u64,
    pub(super) part: u32,
}

/// Where a rank is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whereabouts {
    /// How many operations it has begun.
    pub(super) begun: u64,
    /// Its oldest operation that has not ended, and what that is.
    pub(super) oldest: u64,
    pub(super) what: String,
}

/// What is wrong with another rank.
#[derive(Debug)]
pub(super) struct Trouble {
    /// The rank, where that is known.
    pub(super) peer: Option<usize>,
    /// What to say after its name: `has left`.
    pub(super) what: String,
}

/// The messages of one rank.
pub(super) trait Link {
    /// This rank.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Begins to send or receive a message.
    ///
    /// # Safety
    /// The span's memory lives until `poll` reports the message, or else forever. Until then nothing writes the bytes
    /// of a message that is sent, and nothing reads or writes those of one that is received.
    unsafe fn begin(&mut self, message: Message) -> Result<(), Trouble>;

    /// Appends the messages that have ended to `ended`. An error says which rank is lost or out of step.
    fn poll(&mut self, ended: &mut Vec<Message>) -> Result<(), Trouble>;

    /// The messages that have begun and not ended, oldest first of each lane.
    fn under_way(&self) -> &[Message];

    /// Asks all others where they are, and forgets what they answered before.
    fn ask(&mut self);

    /// Tells those who have asked.
    fn answer(&mut self, whereabouts: impl FnOnce() -> Whereabouts);

    /// What the others have answered: nothing where one is dead, stopped or cut off.
    fn answers(&self) -> &[Option<Whereabouts>];

    /// Leaves the group, and what others still want of this rank fails. If `why` is none it is in good order, after the
    /// last operation, and then waits for the others to leave so too, however long that takes them; but not for one
    /// that does not answer within `patience`.
    fn leave(&mut self, why: Option<&str>, patience: Duration);

    /// Ends all ranks with this exit code, if that can be done from here. Returns otherwise.
    fn abort(&mut self, code: i32);
}
