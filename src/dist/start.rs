//! The group that this process was started in.

use super::{
    alone::Alone,
    collective::{Collective, Settings},
    launcher::{Launched, launched},
};
use crate::error::Result;

/// The group that a launcher has started this process in, or a group of one.
///
/// # Errors
/// [`Error::Config`](crate::error::Error::Config) where several processes were launched and cannot speak to each other:
/// the program was built without the feature `mpi`, or for another MPI than the launcher's.
pub fn start(settings: Settings) -> Result<Box<dyn Collective>> {
    match launched().filter(|launched| launched.size > 1) {
        None => Ok(Box::new(Alone::new())),
        Some(launched) => several(&launched, settings),
    }
}

#[cfg(all(feature = "mpi", unix))]
fn several(launched: &Launched, settings: Settings) -> Result<Box<dyn Collective>> {
    Ok(Box::new(super::mpi::join(launched, settings)?))
}

#[cfg(not(all(feature = "mpi", unix)))]
fn several(launched: &Launched, _: Settings) -> Result<Box<dyn Collective>> {
    Err(crate::error::Error::Config(format!(
        "{} processes were launched ({}), but this program was built for one: start it without a launcher, or build it \
         with `cargo build --release --features mpi`, which needs MPI's headers and libclang (Debian: apt-get install \
         openmpi-bin libopenmpi-dev libclang-dev)",
        launched.size, launched.variable
    )))
}

#[cfg(all(test, not(all(feature = "mpi", unix))))]
mod tests {
    use super::*;

    #[test]
    fn several_processes_without_mpi_are_refused_with_the_way_out() {
        let launched = Launched { size: 4, variable: "PMI_SIZE" };
        let error = several(&launched, Settings::default()).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains("4 processes") && text.contains("PMI_SIZE") && text.contains("--features mpi"), "{text}");
    }
}
