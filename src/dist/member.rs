//! A rank among others, seen from the thread that trains.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{
    collective::{Collective, Settings, Ticket},
    exchange::{Command, Exchange},
    link::Link,
};
use crate::error::{Error, Result};

/// How long a thread that exchanges messages may take to end all ranks.
const ABORT: Duration = Duration::from_secs(10);

/// A rank among others. A thread of its own exchanges the messages.
///
/// Dropped after its last operation it leaves in good order; under MPI it then waits until the others do so too. What
/// others still want of it fails, and the error names it. Dropped by a panic, within an operation or after an error it
/// makes the others fail; under MPI all processes end then, with exit code 4.
#[derive(Debug)]
pub struct Member {
    rank: usize,
    size: usize,
    node_rank: usize,
    host: String,
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Starts the thread, which makes its link by `open`. All ranks have to come here. `hint` goes with the watchdog's
    /// report until all ranks have been heard.
    pub(super) fn start<L: Link>(
        open: impl FnOnce() -> Result<L> + Send + 'static,
        host: String,
        first: Settings,
        hint: &'static str,
    ) -> Result<Self> {
        let (commands, taken) = channel();
        let (opened, place) = channel();
        let work = move || match open() {
            Ok(link) => {
                // Whoever started the thread waits for this.
                let _ = opened.send(Ok((link.rank(), link.size())));
                Exchange::new(link, taken, first, hint).run();
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let thread = thread::Builder::new().name("exchange".into()).spawn(work);
        let thread = thread.map_err(|error| Error::Ranks(format!("no thread to exchange messages: {error}")))?;
        let (rank, size) = place.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(Self { rank, size, node_rank: 0, host, commands, thread: Some(thread) })
    }

    /// Takes the hosts of all ranks: numbers this one among those of its host, and names them in errors.
    pub(super) fn meet(&mut self, hosts: Vec<String>) -> Result<()> {
        self.node_rank = hosts[..self.rank].iter().filter(|host| **host == self.host).count();
        self.tell(Command::Hosts(hosts))
    }

    fn tell(&self, command: Command) -> Result<()> {
        self.commands.send(command).map_err(|_| ended())
    }

    fn begin<T>(&self, command: impl FnOnce(Sender<Result<T>>) -> Command) -> Result<Receiver<Result<T>>> {
        let (sender, answer) = channel();
        self.tell(command(sender))?;
        Ok(answer)
    }

    fn end_thread(&mut self) {
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has said so.
            let _ = thread.join();
        }
    }
}

fn ended() -> Error {
    Error::Ranks("the thread that exchanges messages has ended".into())
}

fn answered<T>(answer: Receiver<Result<T>>) -> Result<T> {
    answer.recv().unwrap_or_else(|_| Err(ended()))
}

impl Collective for Member {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn node_rank(&self) -> usize {
        self.node_rank
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn configure(&mut self, settings: Settings) {
        // Where the thread has ended, the next operation says so.
        let _ = self.tell(Command::Configure { settings, hint: "" });
    }

    fn start_sum(&mut self, bucket: Vec<f32>) -> Result<Ticket> {
        self.begin(|answer| Command::Sum { bucket, answer }).map(Ticket::new)
    }

    fn gather(&mut self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        answered(self.begin(|answer| Command::Gather { own: own.to_vec(), answer })?)
    }

    fn broadcast(&mut self, bytes: &mut Vec<u8>, root: usize) -> Result<()> {
        if root >= self.size {
            return Err(Error::Config(format!("a broadcast from rank {root}, where ranks end at {}", self.size - 1)));
        }
        let own = std::mem::take(bytes);
        *bytes = answered(self.begin(|answer| Command::Broadcast { root, bytes: own, answer })?)?;
        Ok(())
    }

    fn abort(&self, code: i32, why: &str) -> ! {
        let told = format!("rank {} of {} ends all with exit code {code}: {why}", self.rank, self.size);
        tracing::error!("{told}");
        // Where the thread has ended, it is waited for in vain below, briefly.
        let _ = self.tell(Command::Abort { code, why: why.into() });
        let begun = Instant::now();
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if begun.elapsed() > ABORT {
                std::process::exit(code);
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("{told}")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let why = thread::panicking().then_some("it panicked");
        // Where the thread has ended already, there is nothing to leave.
        let _ = self.tell(Command::Leave(why));
        self.end_thread();
    }
}
