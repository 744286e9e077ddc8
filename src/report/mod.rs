//! What a person sees of a run: curves, pictures, the log.

pub mod confusion;
pub mod curves;
pub mod log;
pub mod picture;
