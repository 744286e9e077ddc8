//! Training over several processes: what ranks say to each other. Bytes and values only, no tensors.
//!
//! A [`Collective`] is one rank's end of a group: [`Alone`], a [`Member`] among threads of one process
//! ([`threads::world`]), or a [`Member`] of a job that MPI has launched (feature `mpi`). [`start`] picks the one that
//! this process was launched for. Sums are made in a fixed order ([`tree`]), so that equal ranks give equal bits,
//! whatever arrives first and whatever carries the messages.

mod alone;
mod collective;
pub mod cost;
mod host;
mod launcher;
mod start;
pub mod tree;

#[cfg(not(target_arch = "wasm32"))]
mod exchange;
#[cfg(not(target_arch = "wasm32"))]
mod halves;
#[cfg(not(target_arch = "wasm32"))]
mod job;
#[cfg(not(target_arch = "wasm32"))]
mod link;
#[cfg(not(target_arch = "wasm32"))]
mod member;
#[cfg(not(target_arch = "wasm32"))]
mod memory;
#[cfg(all(feature = "mpi", unix))]
pub mod mpi;
#[cfg(all(feature = "mpi", unix))]
mod note;
#[cfg(not(target_arch = "wasm32"))]
mod sum;
#[cfg(not(target_arch = "wasm32"))]
mod talk;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
#[cfg(not(target_arch = "wasm32"))]
pub mod threads;
mod world;

pub use alone::Alone;
pub use collective::{Collective, Settings, Ticket, Wire};
pub use launcher::{Launched, launched};
#[cfg(not(target_arch = "wasm32"))]
pub use member::Member;
pub use start::start;
pub use world::World;
