//! The files of a checkpoint in a folder.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::{
    files::{Files, MODEL_FILE, Sink},
    manifest,
    whole::{put, take},
};
use crate::{
    durable::{sync_folder, write_synced},
    error::{Error, Result},
    train::snapshot::Snapshot,
};

impl Sink for &Path {
    /// Writes and flushes a file.
    fn put(&mut self, name: &str, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let path = self.join(name);
        write_synced(&path, write).map_err(Error::io(&path))
    }
}

impl Files for &Path {
    fn open(&self, name: &str) -> Result<(Box<dyn Read + '_>, u64), String> {
        let file = fs::File::open(self.join(name)).map_err(|e| e.to_string())?;
        let found = file.metadata().map_err(|e| e.to_string())?;
        match found.is_file() {
            true => Ok((Box::new(io::BufReader::with_capacity(1 << 20, file)), found.len())),
            false => Err("not a file".into()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.join(name)
    }
}

/// Writes a snapshot into an empty folder and flushes it: each file, then the manifest, then the folder.
pub fn write(snapshot: &Snapshot, folder: &Path) -> Result<()> {
    put(snapshot, &mut &*folder)?;
    sync_folder(folder).map_err(Error::io(folder))
}

/// Whether a folder is one of this program's checkpoints, complete or not.
pub fn is_at(folder: &Path) -> bool {
    let says = |name: &str, what: &[u8]| {
        let mut start = Vec::new();
        let file = fs::metadata(folder.join(name)).ok().filter(fs::Metadata::is_file);
        let read =
            file.and_then(|_| fs::File::open(folder.join(name)).ok()?.take(1 << 16).read_to_end(&mut start).ok());
        read.is_some() && start.windows(what.len()).any(|part| part == what)
    };
    says(manifest::FILE, manifest::FORMAT.as_bytes()) || says(MODEL_FILE, b"bootmae model")
}

/// Reads a checkpoint folder, comparing every file's length and hash with the manifest. [`Error::Checkpoint`] names the
/// file and says what is wrong with it. Allocates little more than the files' length.
pub fn read(folder: &Path) -> Result<Snapshot> {
    take(&folder)
}
