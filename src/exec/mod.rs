//! Running a plan: buffers, bind groups and pipelines are made once, a run only records dispatches.

mod arenas;
mod executor;
mod profile;
mod submits;

pub use arenas::Arenas;
pub use executor::Executor;
pub(crate) use executor::check_limits;
pub use profile::{Span, profile};
pub(crate) use submits::Submits;
