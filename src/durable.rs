//! Files that are there as a whole or not at all, also after a killed process or a power loss.
//!
//! What is being written has a name that ends in `.partial`. It gets its own name only when every byte is on the disk:
//! flush the file, rename it, flush the folder, in this order. What a killed process left is cleared away by
//! [`remove_partials`], which is told what is the run's.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

mod act;
#[cfg(test)]
pub(crate) mod faults;
mod place;

pub(crate) use act::Act;
use place::{Place, keep_mode};
pub use place::{lacks, warn_once};

/// The end of the name of everything that is not complete yet.
pub const PARTIAL: &str = ".partial";

/// How many names are tried for what is being written, where others are taken.
const NAMES: u32 = 100;

/// Replaces the file at `path` by what `write` writes, or leaves it as it was: writes `NAME.partial` beside it, flushes
/// that to the disk, renames it over `path` and flushes the folder, in this order. The partial file is removed on
/// failure; one that is there already is left alone, and another name taken.
///
/// A symbolic link stays: what it leads to is replaced. Into a device or a named pipe it is written directly. A folder,
/// a disk or a socket is refused. The mode of a file that is replaced stays, and where the system allows it the owner.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    path.file_name().ok_or_else(|| Error::checkpoint(path, "not the name of a file"))?;
    let target = match Place::of(path)? {
        Place::File(target) => target,
        Place::Stream(stream) => {
            let mut stream = BufWriter::new(stream);
            return write(&mut stream).and_then(|()| stream.flush()).map_err(Error::io(path));
        }
    };
    let (partial, file) = create_partial(&target).map_err(Error::io(path))?;
    let written =
        fill(file, write).and_then(|()| keep_mode(&target, &partial)).and_then(|()| rename(&partial, &target));
    written.map_err(|e| {
        let _ = act(Act::Remove).and_then(|()| fs::remove_file(&partial));
        Error::io(path)(e)
    })?;
    sync_parent(&target).map_err(Error::io(path))
}

/// The name beside `path` under which it is written.
pub fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL);
    path.with_file_name(name)
}

/// The name of what a partial file or folder was to become: `a` for `a.partial` and for `a.2.partial`.
pub fn whole_of(name: &str) -> Option<&str> {
    let whole = name.strip_suffix(PARTIAL)?;
    match whole.rsplit_once('.') {
        Some((first, number)) if number.parse::<u32>().is_ok_and(|n| (2..=NAMES).contains(&n)) => Some(first),
        _ => Some(whole),
    }
}

/// Creates the file `NAME.partial` beside `path`, or `NAME.2.partial` and so on where that is taken: nothing says whose
/// it is.
fn create_partial(path: &Path) -> io::Result<(PathBuf, File)> {
    act(Act::Create)?;
    for number in 1..=NAMES {
        let name = path.file_name().unwrap_or_default().to_owned();
        let path = match number {
            1 => path.to_owned(),
            _ => path.with_file_name({
                let mut name = name;
                name.push(format!(".{number}"));
                name
            }),
        };
        let partial = partial_of(&path);
        match OpenOptions::new().write(true).create_new(true).open(&partial) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (partial, file)),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many files beside it end in `.partial`; remove them"))
}

/// Creates a file and flushes what `write` writes to the disk.
pub fn write_synced(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    act(Act::Create)?;
    fill(File::create(path)?, write)
}

fn fill(file: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, Watched(file));
    write(&mut file)?;
    file.flush()?;
    sync_file(&file.get_ref().0)
}

/// Adds `text` to the end of the file at `path`, which is created where it is missing, and flushes it to the disk. What
/// follows the file's last line break, a line that a killed process did not finish, is cut off before.
pub fn append_synced(path: &Path, text: &str) -> io::Result<()> {
    act(Act::Append)?;
    let new = !path.exists();
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let held = fs::read(path)?;
    let whole = held.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < held.len() {
        OpenOptions::new().write(true).open(path)?.set_len(whole as u64)?;
    }
    file.write_all(text.as_bytes())?;
    sync_file(&file)?;
    if new { sync_parent(path) } else { Ok(()) }
}

/// Makes the contents of a file last through a power loss. Where the file system cannot do that, a warning says so.
pub fn sync_file(file: &File) -> io::Result<()> {
    act(Act::SyncFile).and_then(|()| file.sync_all()).or_else(|e| match lacks(&e) {
        true => {
            warn_once("flush", &format!("this file system does not flush files to the disk ({e})"));
            Ok(())
        }
        false => Err(e),
    })
}

/// Locks a file for this process, if no other one holds it.
pub fn try_lock(file: &File) -> Result<(), TryLockError> {
    act(Act::Lock).map_err(TryLockError::Error)?;
    file.try_lock()
}

/// Renames a file or folder.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    act(Act::Rename)?;
    fs::rename(from, to)
}

/// Creates a folder whose parent exists. One that is there already is removed first, as far as [`remove_folder`] goes.
pub fn new_folder(path: &Path, own: &[&str]) -> io::Result<()> {
    remove_folder(path, own)?;
    act(Act::MakeFolder)?;
    fs::create_dir(path)
}

/// Removes the files named `own` from a folder, in that order, then the folder itself unless it holds anything else:
/// other files, folders and links stay. Says whether the folder is gone; none is no mistake, and neither is a link, which
/// stays as it is.
pub fn remove_folder(path: &Path, own: &[&str]) -> io::Result<bool> {
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(e) => return Err(e),
        Ok(found) if !found.is_dir() => return Ok(false),
        Ok(_) => act(Act::Remove)?,
    }
    for name in own {
        remove_file(&path.join(name))?;
    }
    let mut rest = fs::read_dir(path)?;
    if rest.next().is_some() {
        return Ok(false);
    }
    fs::remove_dir(path).map(|()| true)
}

/// Removes a regular file; anything else stays, and none is no mistake.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(found) if found.is_file() => fs::remove_file(path),
        Ok(_) => Ok(()),
    }
}

/// Makes what was created or renamed inside `folder` last through a power loss. Where the system cannot flush a folder,
/// as on some network file systems, a warning says so.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    // A folder that may be written to but not listed cannot be opened.
    let flush = || if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) };
    act(Act::SyncFolder).and_then(|()| flush()).or_else(|e| match lacks(&e) {
        true => {
            warn_once("folders", &format!("this file system does not flush folders to the disk ({e})"));
            Ok(())
        }
        false => Err(e),
    })
}

/// [`sync_folder`] of the folder that holds `path`.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Removes what a killed process left unfinished directly in `folder`: files and folders named `NAME.partial` for which
/// `own(NAME)` holds, folders only as far as [`remove_folder`] goes with `files`.
pub fn remove_partials(folder: &Path, own: impl Fn(&str) -> bool, files: &[&str]) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_str().and_then(whole_of).is_some_and(&own) {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_folder { remove_folder(&path, files).map(drop) } else { remove_file(&path) };
        removed.map_err(Error::io(&path))?;
    }
    Ok(())
}

/// A file whose writes tests can make fail.
struct Watched(File);

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

/// Comes before every act; in tests the place where the disk is full or the process dies.
fn act(what: Act) -> io::Result<()> {
    #[cfg(test)]
    faults::strike(what)?;
    let _ = what;
    Ok(())
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
    fn a_file_that_is_named_like_a_partial_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(partial_of(&path), "mine").unwrap();
        write_atomically(&path, |to| to.write_all(b"new")).unwrap();
        assert_eq!((fs::read(partial_of(&path)).unwrap(), fs::read(&path).unwrap()), (b"mine".into(), b"new".into()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert_eq!(
            ["a.partial", "a.2.partial", "a.b.partial", "a"].map(whole_of),
            [Some("a"), Some("a"), Some("a.b"), None]
        );
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        ["a.partial", "a.2.partial", "film.partial", "b"].iter().for_each(|name| fs::write(at(name), "").unwrap());
        for name in ["c.partial", "d.partial", "mine.partial"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("model"), "").unwrap();
        }
        fs::write(at("d.partial/notes.txt"), "").unwrap();
        remove_partials(folder.path(), |name| ["a", "c", "d"].contains(&name), &["model"]).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["b", "d.partial", "film.partial", "mine.partial"]);
        assert!(at("d.partial/notes.txt").exists() && !at("d.partial/model").exists());
        remove_partials(&at("none"), |_| true, &[]).unwrap();
    }

    #[test]
    fn a_line_that_was_cut_short_is_cut_off_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        append_synced(&path, "one\n").unwrap();
        fs::write(&path, "one\ntw").unwrap();
        append_synced(&path, "three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\nthree\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_that_flushes_no_folders_or_files_still_takes_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for act in [Act::SyncFolder, Act::SyncFile] {
            faults::refusing(act, libc::EINVAL, || write_atomically(&path, |to| to.write_all(b"new")).unwrap());
            assert_eq!(fs::read(&path).unwrap(), b"new");
            fs::remove_file(&path).unwrap();
            let failed = faults::refusing(act, libc::EIO, || write_atomically(&path, |to| to.write_all(b"new")));
            assert!(failed.is_err(), "{act:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_a_file_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("store")).unwrap();
        fs::write(at("store/real"), "old").unwrap();
        fs::set_permissions(at("store/real"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("store/real", at("first")).unwrap();
        std::os::unix::fs::symlink("first", at("link")).unwrap();
        std::os::unix::fs::symlink("store/new", at("dangling")).unwrap();
        std::os::unix::fs::symlink("circle", at("circle")).unwrap();
        for name in ["link", "dangling"] {
            write_atomically(&at(name), |to| to.write_all(b"new")).unwrap();
            assert!(at(name).is_symlink(), "{name}");
        }
        assert_eq!(
            (fs::read(at("store/real")).unwrap(), fs::read(at("store/new")).unwrap()),
            (b"new".into(), b"new".into())
        );
        assert_eq!(fs::metadata(at("store/real")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(at("store")).unwrap().count(), 2);
        assert!(write_atomically(&at("circle"), |to| to.write_all(b"new")).is_err());
        let error = write_atomically(&at("store"), |to| to.write_all(b"new")).unwrap_err().to_string();
        assert!(error.contains("a folder"), "{error}");
    }

    /// What file systems answer that lack something must not end a run; what a failing disk answers must.
    #[cfg(target_os = "linux")]
    #[test]
    fn only_what_a_file_system_lacks_is_passed_over() {
        for code in [libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP, libc::ENOLCK, libc::EBADF, libc::ENOTTY] {
            assert!(lacks(&io::Error::from_raw_os_error(code)), "{code}");
        }
        for code in [libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EWOULDBLOCK, libc::ENOENT] {
            assert!(!lacks(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }
}
