//! The thread that exchanges messages: it takes operations from the thread that trains, and keeps their messages going.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use super::{
    collective::Settings,
    job::{Job, Next},
    link::{LANES, Link, Message, Trouble, Way, Whereabouts},
    memory::Pool,
    sum::Sum,
    talk::{Broadcast, Gather},
};
use crate::error::Result;

/// How long the thread sleeps while nothing has arrived. Messages go on only while somebody asks for them.
const POLL: Duration = Duration::from_micros(100);

/// The same while no operation is under way.
const IDLE: Duration = Duration::from_millis(5);

/// Messages under way on a lane: with lanes out and back, 64 for sums.
const UNDER_WAY: usize = 32;

/// The exit code of a job that lost a rank, that of [`Error::Ranks`](crate::error::Error::Ranks).
const LOST: i32 = 4;

/// What the thread that trains asks for.
pub(super) enum Command {
    Sum {
        bucket: Vec<f32>,
        answer: Sender<Result<Vec<f32>>>,
    },
    Gather {
        own: Vec<u8>,
        answer: Sender<Result<Vec<Vec<u8>>>>,
    },
    Broadcast {
        root: usize,
        bytes: Vec<u8>,
        answer: Sender<Result<Vec<u8>>>,
    },
    /// New settings, and what to add to the watchdog's report.
    Configure {
        settings: Settings,
        hint: &'static str,
    },
    /// The hosts of all ranks.
    Hosts(Vec<String>),
    /// Ends all ranks.
    Abort {
        code: i32,
        why: String,
    },
    /// Ends this thread; with a reason if not in good order.
    Leave(Option<&'static str>),
}

/// One rank's operations under way.
pub(super) struct Exchange<L: Link> {
    link: L,
    commands: Receiver<Command>,
    settings: Settings,
    hint: &'static str,
    hosts: Vec<String>,
    /// Operations, oldest first, none where one is complete; the number of the first.
    jobs: VecDeque<Option<Box<dyn Job>>>,
    first: u64,
    /// The operation that each lane has got to.
    at: [u64; 3],
    pool: Pool,
    /// When something last happened.
    last: Instant,
    asked: bool,
    failed: Option<String>,
}

impl<L: Link> Exchange<L> {
    pub(super) fn new(link: L, commands: Receiver<Command>, settings: Settings, hint: &'static str) -> Self {
        Self {
            link,
            commands,
            settings,
            hint,
            hosts: Vec::new(),
            jobs: VecDeque::new(),
            first: 0,
            at: [0; 3],
            pool: Pool::default(),
            last: Instant::now(),
            asked: false,
            failed: None,
        }
    }

    /// Works until it is told to leave.
    pub(super) fn run(mut self) {
        let mut moved = true;
        loop {
            let command = if moved {
                self.commands.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else {
                let idle = self.jobs.is_empty() || self.failed.is_some();
                self.commands.recv_timeout(if idle { IDLE } else { POLL })
            };
            match command {
                Ok(Command::Leave(why)) => return self.leave(why),
                Err(RecvTimeoutError::Disconnected) => return self.leave(None),
                Ok(Command::Abort { code, why }) => {
                    self.link.abort(code);
                    let why = format!("it aborts with exit code {code}: {why}");
                    self.link.leave(Some(&why), self.settings.watchdog);
                    self.fail("this rank aborts".into());
                    return;
                }
                Ok(command) => self.take(command),
                Err(RecvTimeoutError::Timeout) => {}
            }
            moved = false;
            if self.failed.is_none() {
                match self.turn() {
                    Ok(any) => moved = any,
                    Err(why) => {
                        let why = format!("{why}{}", self.during());
                        self.fail(why);
                    }
                }
            }
        }
    }

    /// Begins an operation, or changes a setting.
    fn take(&mut self, command: Command) {
        let place = (self.link.rank(), self.link.size());
        let mut job: Box<dyn Job> = match command {
            Command::Sum { bucket, answer } => Box::new(Sum::new(place, self.settings.wire, bucket, answer)),
            Command::Gather { own, answer } => Box::new(Gather::new(place, own, answer)),
            Command::Broadcast { root, bytes, answer } => Box::new(Broadcast::new(place, root, bytes, answer)),
            Command::Configure { settings, hint } => {
                (self.settings, self.hint) = (settings, hint);
                return;
            }
            Command::Hosts(hosts) => {
                self.hosts = hosts;
                return;
            }
            // The caller has seen to these.
            Command::Abort { .. } | Command::Leave(_) => return,
        };
        self.last = Instant::now();
        if let Some(why) = &self.failed {
            return job.fail(why);
        }
        self.jobs.push_back(Some(job));
    }

    /// Moves everything as far as it goes. Whether anything moved.
    fn turn(&mut self) -> Result<bool, String> {
        let mut moved = self.begin()?;
        let mut ended = Vec::new();
        self.link.poll(&mut ended).map_err(|trouble| self.told(trouble))?;
        let (first, jobs) = (self.first, &self.jobs);
        self.link.answer(|| Whereabouts {
            begun: first + jobs.len() as u64,
            oldest: first,
            what: jobs.iter().flatten().next().map_or_else(String::new, |job| job.describe()),
        });
        for message in ended {
            moved = true;
            let job = self.jobs.get_mut((message.job - self.first) as usize).and_then(Option::as_mut);
            let job = job.expect("an operation outlives its messages");
            job.ended(message.lane, message.way, message.part, &mut self.pool);
        }
        for job in &mut self.jobs {
            if let Some(job) = job.take_if(|job| job.is_complete()) {
                job.complete(&mut self.pool);
            }
        }
        while self.jobs.pop_front_if(|job| job.is_none()).is_some() {
            self.first += 1;
        }
        if moved || self.jobs.is_empty() {
            (self.last, self.asked) = (Instant::now(), false);
        }
        self.watch()?;
        Ok(moved)
    }

    /// Begins the messages that may begin. Whether there were any.
    fn begin(&mut self) -> Result<bool, String> {
        let (mut any, mut trouble) = (false, None);
        for lane in LANES {
            let under_way = self.link.under_way().iter().filter(|message| message.lane == lane).count();
            let mut free = UNDER_WAY.saturating_sub(under_way);
            let at = &mut self.at[lane as usize];
            *at = (*at).max(self.first);
            while free > 0 {
                let Some(job) = self.jobs.get_mut((*at - self.first) as usize) else { break };
                match job.as_mut().map_or(Next::Done, |job| job.next(lane, &mut self.pool)) {
                    Next::Wait => break,
                    Next::Done => *at += 1,
                    Next::Pair { send, receive, part } => {
                        for (way, end) in [(Way::Receive, receive), (Way::Send, send)] {
                            let Some((peer, span)) = end else { continue };
                            // SAFETY: the span is of a job, which lives until its messages have ended and is forgotten
                            // where they never do (`fail`); jobs keep off bytes under way.
                            let begun = unsafe { self.link.begin(Message { lane, way, peer, span, job: *at, part }) };
                            trouble = trouble.or(begun.err());
                            free = free.saturating_sub(1);
                            any = true;
                        }
                    }
                }
            }
        }
        trouble.map_or(Ok(any), |trouble| Err(self.told(trouble)))
    }

    /// Gives up where nothing has moved for too long.
    fn watch(&mut self) -> Result<(), String> {
        let (silence, limit) = (self.last.elapsed(), self.settings.watchdog);
        if silence > limit * 3 / 4 && !self.asked {
            self.asked = true;
            self.link.ask();
        }
        if silence <= limit {
            return Ok(());
        }
        let why = format!("no message for {:.1} s: {}{}", silence.as_secs_f64(), self.silent(), self.hint);
        tracing::error!("rank {}: {why}{}", self.link.rank(), self.during());
        self.link.abort(LOST);
        Err(why)
    }

    /// Who keeps this rank waiting: those who do not answer, or have not got here; else all that it waits for.
    fn silent(&self) -> String {
        let own = self.jobs.iter().flatten().next().map_or_else(String::new, |job| job.describe());
        let mut culprits = Vec::new();
        for (peer, answer) in self.link.answers().iter().enumerate().filter(|(peer, _)| *peer != self.link.rank()) {
            let name = self.name(peer);
            match answer {
                None => culprits.push(format!("{name} does not answer")),
                Some(Whereabouts { begun, .. }) if *begun <= self.first => {
                    culprits.push(format!("{name} answers and has begun {begun} operations only"));
                }
                Some(Whereabouts { oldest, what, .. }) if *oldest == self.first && *what != own => {
                    culprits.push(format!("{name} is out of step: its operation {oldest} is {what}"));
                }
                Some(_) => {}
            }
        }
        let waits = |message: &Message| {
            let bytes = message.span.len();
            match message.way {
                Way::Receive => format!("{bytes} bytes from {}", self.name(message.peer)),
                Way::Send => format!("{} to take {bytes} bytes", self.name(message.peer)),
            }
        };
        let mut waiting: Vec<_> = self.link.under_way().iter().map(waits).collect();
        let more = waiting.len().saturating_sub(4);
        waiting.truncate(4);
        if more > 0 {
            waiting.push(format!("{more} messages more"));
        }
        let culprits = if culprits.is_empty() { "all ranks answer".into() } else { culprits.join(", ") };
        format!("{culprits}; this rank waits for {}", waiting.join(", "))
    }

    fn told(&self, Trouble { peer, what }: Trouble) -> String {
        peer.map_or_else(|| what.clone(), |peer| format!("{} {what}", self.name(peer)))
    }

    fn name(&self, rank: usize) -> String {
        match self.hosts.get(rank) {
            Some(host) => format!("rank {rank} on {host}"),
            None => format!("rank {rank}"),
        }
    }

    /// The oldest operation under way, for messages.
    fn during(&self) -> String {
        let oldest = self.jobs.iter().flatten().next();
        oldest.map_or_else(String::new, |job| format!(" (operation {}, {})", self.first, job.describe()))
    }

    /// Gives up all operations, now and from now on.
    fn fail(&mut self, why: String) {
        for mut job in self.jobs.drain(..).flatten() {
            job.fail(&why);
            // Messages that never end may still use its memory.
            std::mem::forget(job);
        }
        self.link.leave(Some(&why), self.settings.watchdog);
        self.failed = Some(why);
    }

    fn leave(mut self, why: Option<&str>) {
        let undone = self.jobs.iter().flatten().next().map(|job| format!("it left within {}", job.describe()));
        let why = why.map(str::to_owned).or_else(|| self.failed.clone()).or(undone);
        if let Some(why) = &why {
            tracing::error!("rank {} leaves: {why}", self.link.rank());
            self.link.abort(LOST);
            return self.fail(why.clone());
        }
        self.link.leave(None, self.settings.watchdog);
    }
}
