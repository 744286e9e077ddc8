//! Files that are there as a whole or not at all, also after a killed process or a power loss.
//!
//! What is being written has a name that ends in `.partial`. It gets its own name only when every byte is on the disk:
//! flush the file, rename it, flush the folder, in this order. [`remove_partials`] clears away what a killed process left.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// The end of the name of everything that is not complete yet.
pub const PARTIAL: &str = ".partial";

/// Replaces the file at `path` by what `write` writes, or leaves it as it was: writes `NAME.partial` beside it, flushes
/// that to the disk, renames it over `path` and flushes the folder, in this order. The partial file is removed on
/// failure; one left behind by a killed process is overwritten by the next save.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    path.file_name().ok_or_else(|| Error::checkpoint(path, "not the name of a file"))?;
    let partial = partial_of(path);
    let written = write_synced(&partial, write).and_then(|()| rename(&partial, path));
    written.map_err(|e| {
        let _ = act(Act::Remove).and_then(|()| fs::remove_file(&partial));
        Error::io(path)(e)
    })?;
    sync_parent(path).map_err(Error::io(path))
}

/// The name beside `path` under which it is written.
pub fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL);
    path.with_file_name(name)
}

/// Creates a file and flushes what `write` writes to the disk.
pub fn write_synced(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    act(Act::Create)?;
    let mut file = BufWriter::with_capacity(1 << 20, Watched(fs::File::create(path)?));
    write(&mut file)?;
    file.flush()?;
    act(Act::SyncFile)?;
    file.get_ref().0.sync_all()
}

/// Renames a file or folder.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    act(Act::Rename)?;
    fs::rename(from, to)
}

/// Creates a folder whose parent exists; one that is there already is emptied by removing it first.
pub fn new_folder(path: &Path) -> io::Result<()> {
    remove_folder(path)?;
    act(Act::MakeFolder)?;
    fs::create_dir(path)
}

/// Removes a folder and all in it; none is no mistake.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(_) => {
            act(Act::Remove)?;
            fs::remove_dir_all(path)
        }
    }
}

/// Makes what was created or renamed inside `folder` last through a power loss, where a folder can be opened for that.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    act(Act::SyncFolder)?;
    if cfg!(unix) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// [`sync_folder`] of the folder that holds `path`.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Removes the files and folders directly in `folder` that a killed process left unfinished.
pub fn remove_partials(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten().filter(|e| e.file_name().to_string_lossy().ends_with(PARTIAL)) {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(Error::io(&path))?;
    }
    Ok(())
}

/// A file whose writes tests can make fail.
struct Watched(fs::File);

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(e) = act(Act::Write) {
            // As a full disk does it: part of the bytes arrive.
            let _ = self.0.write_all(&bytes[..bytes.len() / 2]);
            return Err(e);
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What is done to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    MakeFolder,
    Create,
    Write,
    SyncFile,
    SyncFolder,
    Rename,
    Remove,
}

/// Comes before every act; in tests the place where the disk is full or the process dies.
fn act(what: Act) -> io::Result<()> {
    #[cfg(test)]
    faults::strike(what)?;
    let _ = what;
    Ok(())
}

/// Faults for tests: the n-th act of this thread fails.
#[cfg(test)]
pub(super) mod faults {
    use super::Act;
    use std::{cell::RefCell, io};

    /// What happens at the act that is struck.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fault {
        /// It fails for want of space; later acts succeed.
        DiskFull,
        /// It and everything after it do not happen, as when the process is killed.
        Kill,
    }

    #[derive(Default)]
    struct Plan {
        fault: Option<(usize, Fault)>,
        acts: Vec<Act>,
    }

    thread_local! {
        static PLAN: RefCell<Plan> = RefCell::default();
    }

    /// Runs `work` with the act numbered `at` struck (none: nothing is), and returns its result and the acts it did.
    pub fn with<T>(fault: Option<(usize, Fault)>, work: impl FnOnce() -> T) -> (T, Vec<Act>) {
        PLAN.with_borrow_mut(|plan| *plan = Plan { fault, acts: Vec::new() });
        let result = work();
        (result, PLAN.take().acts)
    }

    pub(super) fn strike(what: Act) -> io::Result<()> {
        PLAN.with_borrow_mut(|plan| {
            let number = plan.acts.len();
            plan.acts.push(what);
            match plan.fault {
                Some((at, Fault::DiskFull)) if at == number => Err(io::ErrorKind::StorageFull.into()),
                Some((at, Fault::Kill)) if at <= number => Err(io::Error::other("killed")),
                _ => Ok(()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomically(&path, |to| to.write_all(b"old")).unwrap();
        let (_, acts) = faults::with(None, || write_atomically(&path, |to| to.write_all(b"old")).unwrap());
        assert_eq!(acts, [Act::Create, Act::Write, Act::SyncFile, Act::Rename, Act::SyncFolder]);
        for (at, act) in acts.iter().enumerate() {
            let fault = Some((at, faults::Fault::DiskFull));
            let (result, _) = faults::with(fault, || write_atomically(&path, |to| to.write_all(b"new")));
            let error = result.unwrap_err();
            assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
            let held = fs::read(&path).unwrap();
            assert_eq!(held, if at < 4 { b"old" } else { b"new" }, "fault at {act:?}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.partial"), "").unwrap();
        fs::write(folder.path().join("b"), "").unwrap();
        fs::create_dir_all(folder.path().join("c.partial/d")).unwrap();
        remove_partials(folder.path()).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["b"]);
        remove_partials(&folder.path().join("none")).unwrap();
    }
}
