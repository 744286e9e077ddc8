//! What a person sees of a run: curves, pictures, the log, a page of all of it.

pub mod confusion;
pub mod curves;
pub mod log;
pub mod page;
pub mod picture;
pub mod told;
