//! The files of a checkpoint by name, and where they go and come from.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use crate::{
    error::{Error, Result},
    formats::tensors::{TensorFile, Values},
    train::snapshot::NamedTensor,
};

/// The name of a whole checkpoint in one file, which version 1 wrote.
pub const SINGLE_FILE: &str = "checkpoint.safetensors";
/// The file of the student's weights.
pub const MODEL_FILE: &str = "model.safetensors";
pub(super) const TEACHER_FILE: &str = "teacher.safetensors";
pub(super) const OPTIMIZER_FILE: &str = "optimizer.safetensors";
pub(super) const STATE_FILE: &str = "state.json";

/// The manifest's name.
pub(super) const MANIFEST_FILE: &str = "MANIFEST.json";

/// The files of a checkpoint. The manifest is first: without it the others are no checkpoint.
pub const CHECKPOINT_FILES: [&str; 5] = [MANIFEST_FILE, STATE_FILE, OPTIMIZER_FILE, TEACHER_FILE, MODEL_FILE];

/// The version that is written. Version 1, a single file, is read as well.
pub const VERSION: u32 = 2;

/// The longest JSON file of a checkpoint that is read, in bytes.
pub(super) const MAX_JSON: u64 = 1 << 20;

/// Where the files of a checkpoint go.
pub(super) trait Sink {
    /// Writes a file as a whole.
    fn put(&mut self, name: &str, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<()>;
}

/// Where the files of a checkpoint are.
pub(super) trait Files {
    /// Opens a file; gives its length too.
    fn open(&self, name: &str) -> Result<(Box<dyn Read + '_>, u64), String>;

    /// What a message calls a file.
    fn path(&self, name: &str) -> PathBuf;

    /// An error about a file.
    fn fault(&self, name: &str, reason: impl Into<String>) -> Error {
        Error::checkpoint(self.path(name), reason)
    }
}

/// The tensors of a file.
pub(super) fn named_tensors(file: TensorFile) -> Result<Vec<NamedTensor>, String> {
    let tensors = file.tensors.into_iter().map(|(name, tensor)| match tensor.values {
        Values::F32(data) => Ok(NamedTensor { name, shape: tensor.shape, data }),
        _ => Err(format!("tensor `{name}` is not F32")),
    });
    tensors.collect()
}

/// Why a version is not read.
pub(super) fn unread_version(version: impl std::fmt::Display) -> String {
    format!("checkpoint version {version}; this program reads versions 1 and {VERSION}")
}
