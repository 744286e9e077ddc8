//! The processes of a job, as everything above speaks to them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    alone::Alone,
    collective::{Collective, Settings, Ticket, Wire},
    start::start,
};
use crate::error::Result;

/// One process's end of a job, which several parts of the program hold. All processes do the same in the same order.
#[derive(Clone)]
pub struct World {
    held: Arc<Mutex<Box<dyn Collective>>>,
    rank: usize,
    size: usize,
    local: (usize, usize),
    /// The names of all processes' machines; none where there is one machine.
    hosts: Arc<[String]>,
    watchdog: Duration,
}

impl World {
    /// This process by itself.
    pub fn alone() -> World {
        World::of(Alone::new())
    }

    /// An end that is there already.
    pub fn of(collective: impl Collective + 'static) -> World {
        World::held(Box::new(collective))
    }

    /// The job that this process was launched for, by `mpirun` or `srun`; by itself where there is no launcher. `watchdog`
    /// is how long a silent process is waited for.
    ///
    /// # Errors
    /// [`Error::Config`](crate::error::Error::Config) where a launcher started several processes of a program that was
    /// built without MPI, and what MPI says where it does not start.
    pub fn join(watchdog: Duration) -> Result<World> {
        let mut world = World::held(start(Settings { watchdog, ..Settings::default() })?);
        world.watchdog = watchdog;
        if world.size > 1 {
            let own = world.end().host().as_bytes().to_vec();
            let hosts = world.gather(&own)?;
            world.local.1 = hosts.iter().filter(|host| **host == own).count();
            world.hosts = hosts.iter().map(|host| String::from_utf8_lossy(host).into_owned()).collect();
        }
        Ok(world)
    }

    fn held(collective: Box<dyn Collective>) -> World {
        let (rank, size) = (collective.rank(), collective.size());
        let local = (collective.node_rank(), size);
        let (held, watchdog) = (Arc::new(Mutex::new(collective)), Settings::default().watchdog);
        World { held, rank, size, local, hosts: Arc::default(), watchdog }
    }

    fn end(&self) -> MutexGuard<'_, Box<dyn Collective>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process's number, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Processes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// This process's number among those of its machine, and how many these are.
    pub fn local(&self) -> (usize, usize) {
        self.local
    }

    /// The name of a process's machine; empty for threads of one program.
    pub fn host(&self, rank: usize) -> &str {
        self.hosts.get(rank).map_or("", String::as_str)
    }

    /// Sets how values travel from now on; the same on all.
    pub fn travel_as(&self, wire: Wire) {
        self.end().configure(Settings { wire, watchdog: self.watchdog });
    }

    /// Begins to add up `values` of all processes.
    pub fn start_sum(&self, values: Vec<f32>) -> Result<Ticket> {
        self.end().start_sum(values)
    }

    /// Waits for a sum, which has equal bits everywhere.
    pub fn finish_sum(&self, ticket: Ticket) -> Result<Vec<f32>> {
        self.end().finish_sum(ticket)
    }

    /// Everyone's bytes, in the order of ranks.
    pub fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.end().gather(own)
    }

    /// The first process's bytes: what it gives is what everyone gets.
    pub fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mut bytes = bytes;
        self.end().broadcast(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Waits until all have come to their end.
    pub fn leave(&self) -> Result<()> {
        self.end().barrier()
    }

    /// Ends every process with this exit code, after saying why.
    pub fn abort(&self, code: i32, why: &str) -> ! {
        self.end().abort(code, why)
    }
}
