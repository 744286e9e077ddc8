//! A run in its folder: from start or checkpoint to the last step, what it writes and what stops it.

pub mod evaluation;
pub mod events;
pub mod follower;
pub mod pretrain;
pub mod run_folder;
pub mod samples;
pub mod saver;
pub mod stop;
pub mod written;
