//! Messages between processes that MPI has launched. One thread initialises MPI and is the only one to call it; nothing
//! that it calls blocks. MPI carries bytes only: what is summed how is not its business.

use std::mem::zeroed;
use std::os::raw::{c_int, c_void};
use std::thread;
use std::time::{Duration, Instant};

use mpi::{
    Threading,
    environment::Universe,
    ffi::{self, MPI_Comm, MPI_Request, MPI_Status},
    topology::Communicator,
    traits::AsRaw,
};

use super::{
    collective::{Collective, Settings},
    host,
    launcher::Launched,
    link::{LANES, Link, Message, Trouble, Way, Whereabouts},
    member::Member,
    note::{self, NOTE_LEN},
};
use crate::error::{Error, Result};

/// How long the first exchange may take, in which ranks connect.
const FIRST: Duration = Duration::from_secs(60);

/// What to do where it takes longer.
const HINT: &str = ". This was the first exchange: where hosts have several network interfaces, name the one that \
                    joins them, as in `mpirun --mca btl_tcp_if_include 10.0.0.0/16`";

/// The tag of what is neither contribution nor sum nor talk: whether one is there. Lanes have their numbers.
const NOTE: c_int = LANES.len() as c_int;

/// The end of the group that MPI's launcher started this process in. All processes call it, once. It comes back when
/// all ranks have been heard.
///
/// # Errors
/// [`Error::Config`] where MPI knows of another number of processes than the launcher said: it is another MPI's.
pub fn join(launched: &Launched, settings: Settings) -> Result<Member> {
    let expected = launched.clone();
    let first = Settings { watchdog: FIRST, ..settings };
    let mut member = Member::start(move || Lines::open(&expected), host::name(), first, HINT)?;
    let hosts = member.gather(member.host().to_owned().as_bytes())?;
    member.meet(hosts.iter().map(|host| String::from_utf8_lossy(host).into_owned()).collect())?;
    member.configure(settings);
    Ok(member)
}

/// The messages of a process.
struct Lines {
    /// Finalises MPI when it is dropped.
    universe: Option<Universe>,
    world: MPI_Comm,
    rank: usize,
    size: usize,
    under_way: Vec<Message>,
    /// MPI's handles of the messages under way, in the same order.
    requests: Vec<MPI_Request>,
    /// Notes on their way.
    notes: Vec<(MPI_Request, Box<[u8; NOTE_LEN]>)>,
    askers: Vec<usize>,
    answers: Vec<Option<Whereabouts>>,
}

impl Lines {
    fn open(launched: &Launched) -> Result<Self> {
        let (universe, threading) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| Error::Config("MPI is in use already; a process joins its group once".into()))?;
        let communicator = universe.world();
        let (rank, size) = (communicator.rank() as usize, communicator.size() as usize);
        if size != launched.size {
            return Err(Error::Config(format!(
                "the launcher started {} processes ({}), but MPI knows of {size}: the program was built for another \
                 MPI than the launcher's, or Slurm was not told which to speak (`srun --mpi=pmix`)",
                launched.size, launched.variable
            )));
        }
        if threading < Threading::Funneled {
            return Err(Error::Config("this MPI allows no threads beside it; it has to be built with them".into()));
        }
        let world = communicator.as_raw();
        // SAFETY: MPI is initialised, by this thread.
        unsafe { ffi::MPI_Comm_set_errhandler(world, ffi::RSMPI_ERRORS_RETURN) };
        Ok(Self {
            universe: Some(universe),
            world,
            rank,
            size,
            under_way: Vec::new(),
            requests: Vec::new(),
            notes: Vec::new(),
            askers: Vec::new(),
            answers: vec![None; size],
        })
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let rank = self.rank;
        (0..self.size).filter(move |peer| *peer != rank)
    }

    /// Sends the first of a few bytes and keeps them until they are gone.
    fn send(&mut self, to: usize, tag: c_int, bytes: [u8; NOTE_LEN], len: usize) {
        let bytes = Box::new(bytes);
        // SAFETY: the bytes are kept, where they are, as long as the request.
        unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            let (at, kind) = (bytes.as_ptr().cast::<c_void>(), ffi::RSMPI_UINT8_T);
            ffi::MPI_Isend(at, len as c_int, kind, to as c_int, tag, self.world, &mut request);
            self.notes.push((request, bytes));
        }
    }

    /// A message of this tag that nobody has asked for yet, from whomever: who sent it, its tag and its length.
    fn unasked(&self, tag: c_int) -> Option<(usize, c_int, usize)> {
        // SAFETY: plain values, written by the call.
        unsafe {
            let (mut found, mut status) = (0, zeroed::<MPI_Status>());
            ffi::MPI_Iprobe(ffi::RSMPI_ANY_SOURCE, tag, self.world, &mut found, &mut status);
            (found != 0).then(|| (status.MPI_SOURCE as usize, status.MPI_TAG, length(&status)))
        }
    }

    /// Receives a short message that has arrived.
    fn take(&self, from: usize, tag: c_int) -> [u8; NOTE_LEN] {
        let mut bytes = [0; NOTE_LEN];
        let (at, len) = (bytes.as_mut_ptr().cast::<c_void>(), NOTE_LEN as c_int);
        // SAFETY: the message is there and no longer than this; the call does not wait.
        unsafe {
            let kind = ffi::RSMPI_UINT8_T;
            ffi::MPI_Recv(at, len, kind, from as c_int, tag, self.world, ffi::RSMPI_STATUS_IGNORE);
        }
        bytes
    }

    /// Reads the notes that have come. Asking MPI also keeps it going while nothing is under way.
    fn mind_notes(&mut self) {
        while let Some((from, tag, _)) = self.unasked(NOTE) {
            match note::read(&self.take(from, tag)) {
                None => self.askers.push(from),
                answer => self.answers[from] = answer,
            }
        }
        self.notes.retain_mut(|(request, _)| {
            let mut gone = 0;
            // SAFETY: a request that has not ended.
            unsafe { ffi::MPI_Test(request, &mut gone, ffi::RSMPI_STATUS_IGNORE) };
            gone == 0
        });
    }

    /// What is wrong with a message that has ended, if anything.
    fn trouble(message: &Message, status: &MPI_Status, failed: bool) -> Option<Trouble> {
        let (sent, awaited) = (length(status), message.span.len());
        let what = match message.way {
            _ if failed && status.MPI_ERROR != 0 => {
                format!("and this rank disagree about a message of {awaited} bytes: {}", text(status.MPI_ERROR))
            }
            Way::Receive if sent == 0 => "has left".into(),
            Way::Receive if sent != awaited => {
                format!("sent {sent} bytes where {awaited} were awaited: it is out of step")
            }
            _ => return None,
        };
        Some(Trouble { peer: Some(message.peer), what })
    }

    /// Waits until everyone has left in good order, and gives up where someone has not and does not answer.
    fn all_leave(&mut self, patience: Duration) -> Result<(), String> {
        let mut missing = vec![LANES.len(); self.size];
        missing[self.rank] = 0;
        let mut asked = Instant::now();
        self.ask();
        while missing.iter().any(|lanes| *lanes > 0) || !self.notes.is_empty() {
            self.mind_notes();
            self.answer(|| Whereabouts { begun: u64::MAX, oldest: u64::MAX, what: "its end".into() });
            // SAFETY: a plain number.
            match self.unasked(unsafe { ffi::RSMPI_ANY_TAG }) {
                Some((_, NOTE, _)) => {}
                Some((from, tag, 0)) => {
                    self.take(from, tag);
                    missing[from] = missing[from].saturating_sub(1);
                }
                Some((from, _, len)) => {
                    return Err(format!("rank {from} still sends {len} bytes, where this rank has ended"));
                }
                None => thread::sleep(Duration::from_millis(2)),
            }
            if asked.elapsed() > patience {
                let silent = self.others().find(|peer| missing[*peer] > 0 && self.answers[*peer].is_none());
                if let Some(peer) = silent {
                    return Err(format!("rank {peer} does not answer, where this rank has ended"));
                }
                asked = Instant::now();
                self.ask();
            }
        }
        Ok(())
    }
}

/// The bytes of a message that has arrived.
fn length(status: &MPI_Status) -> usize {
    let mut count = 0;
    // SAFETY: plain values.
    unsafe { ffi::MPI_Get_count(status, ffi::RSMPI_UINT8_T, &mut count) };
    usize::try_from(count).unwrap_or(0)
}

/// MPI's words for an error.
fn text(code: c_int) -> String {
    let mut text = [0_u8; 4096];
    let mut len = 0;
    // SAFETY: MPI's longest text is far shorter.
    unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &mut len) };
    String::from_utf8_lossy(&text[..usize::try_from(len).unwrap_or(0)]).into_owned()
}

impl Link for Lines {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    unsafe fn begin(&mut self, message: Message) -> Result<(), Trouble> {
        let Message { lane, way, peer, span, .. } = message;
        let (at, len, peer, tag) = (span.start().cast::<c_void>(), span.len() as c_int, peer as c_int, lane as c_int);
        // SAFETY: the caller sees to the memory; the request is kept until it has ended.
        let (code, request) = unsafe {
            let (kind, mut request) = (ffi::RSMPI_UINT8_T, ffi::RSMPI_REQUEST_NULL);
            let code = match way {
                Way::Send => ffi::MPI_Isend(at, len, kind, peer, tag, self.world, &mut request),
                Way::Receive => ffi::MPI_Irecv(at, len, kind, peer, tag, self.world, &mut request),
            };
            (code, request)
        };
        if code != 0 {
            let what = format!("cannot be reached for a message of {len} bytes: {}", text(code));
            return Err(Trouble { peer: Some(message.peer), what });
        }
        self.under_way.push(message);
        self.requests.push(request);
        Ok(())
    }

    fn poll(&mut self, ended: &mut Vec<Message>) -> Result<(), Trouble> {
        self.mind_notes();
        let open = self.requests.len();
        if open == 0 {
            return Ok(());
        }
        let (mut count, mut indices) = (0, vec![0; open]);
        // SAFETY: lists as long as the number given; a status is plain values.
        let (code, statuses) = unsafe {
            let mut statuses = vec![zeroed::<MPI_Status>(); open];
            let (requests, statuses_at) = (self.requests.as_mut_ptr(), statuses.as_mut_ptr());
            let code = ffi::MPI_Testsome(open as c_int, requests, &mut count, indices.as_mut_ptr(), statuses_at);
            (code, statuses)
        };
        // Where none has ended, or no request is active, the count is 0 or less.
        let mut over = vec![false; open];
        let mut trouble = None;
        for (index, status) in indices.iter().zip(&statuses).take(usize::try_from(count).unwrap_or(0)) {
            let index = *index as usize;
            over[index] = true;
            trouble = trouble.or_else(|| Self::trouble(&self.under_way[index], status, code != 0));
            ended.push(self.under_way[index]);
        }
        let (mut at, mut again) = (over.iter(), over.iter());
        self.requests.retain(|_| at.next() == Some(&false));
        self.under_way.retain(|_| again.next() == Some(&false));
        match trouble {
            Some(trouble) => Err(trouble),
            None if code != 0 && ended.is_empty() => Err(Trouble { peer: None, what: text(code) }),
            None => Ok(()),
        }
    }

    fn under_way(&self) -> &[Message] {
        &self.under_way
    }

    fn ask(&mut self) {
        self.answers.fill(None);
        self.others().for_each(|peer| self.send(peer, NOTE, note::write(None), NOTE_LEN));
    }

    fn answer(&mut self, whereabouts: impl FnOnce() -> Whereabouts) {
        if !self.askers.is_empty() {
            let bytes = note::write(Some(&whereabouts()));
            for asker in std::mem::take(&mut self.askers) {
                self.send(asker, NOTE, bytes, NOTE_LEN);
            }
        }
    }

    fn answers(&self) -> &[Option<Whereabouts>] {
        &self.answers
    }

    fn leave(&mut self, why: Option<&str>, patience: Duration) {
        // Nothing else has no bytes, so that whoever still awaits some learns of it.
        for peer in self.others() {
            LANES.iter().for_each(|lane| self.send(peer, *lane as c_int, note::write(None), 0));
        }
        if why.is_some() {
            return;
        }
        if let Err(why) = self.all_leave(patience) {
            tracing::error!("rank {}: {why}", self.rank);
            self.abort(4);
        }
        // Finalises.
        self.universe = None;
    }

    fn abort(&mut self, code: i32) {
        // SAFETY: MPI is initialised, and this is its thread.
        unsafe { ffi::MPI_Abort(self.world, code) };
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.universe.is_some() {
            self.abort(4);
        }
    }
}
