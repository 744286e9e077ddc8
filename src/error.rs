//! The one error type of the library: what happened, where, and what to do next.

use std::path::PathBuf;

use crate::text::shown_path;

/// Everything that can go wrong outside the mathematics. Shape mistakes in model code are programming errors and panic
/// instead, naming the operation and the path of the layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is unknown, contradicts another or is out of range.
    #[error("configuration: {0}")]
    Config(String),
    /// The image collection cannot be used: missing, empty or unreadable.
    #[error("images: {0}")]
    Images(String),
    /// No adapter fits, or the device was lost.
    #[error("GPU: {0}")]
    Gpu(String),
    /// Another process of the training is lost, silent or out of step.
    #[error("ranks: {0}")]
    Ranks(String),
    /// The losses are no longer finite.
    #[error("training diverged: {0}")]
    Diverged(String),
    /// A signal ended the run; its state is saved.
    #[error("{0}")]
    Stopped(String),
    /// A checkpoint or fixture cannot be read, or does not belong to this configuration.
    #[error("{}: {reason}", shown_path(path))]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused to read or write a path.
    #[error("{}: {source}", shown_path(path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// Shorthand for a result with the library's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The exit code of the command-line program for this error: 2 usage or configuration, 3 images, 4 no usable GPU or another process lost,
    /// 5 diverged, 6 checkpoint or disk, 130 stopped by a signal with its state saved.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) => 2,
            Error::Images(_) => 3,
            Error::Gpu(_) | Error::Ranks(_) => 4,
            Error::Diverged(_) => 5,
            Error::Stopped(_) => 130,
            Error::Checkpoint { .. } | Error::Io { .. } => 6,
        }
    }

    /// Attaches the path to an I/O error: `fs::read(p).map_err(Error::io(p))`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }

    /// A malformed or mismatched checkpoint or fixture at `path`.
    pub fn checkpoint(path: impl Into<PathBuf>, reason: impl Into<String>) -> Error {
        Error::Checkpoint { path: path.into(), reason: reason.into() }
    }
}
