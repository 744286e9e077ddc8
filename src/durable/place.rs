//! What a path leads to, and what its file system can do.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::error::{Error, Result};

/// Links that are followed one after another, as systems do.
const LINKS: usize = 40;

/// Where something is to be written.
pub(super) enum Place {
    /// A regular file, there or not: at the end of the links, where the path is one.
    File(PathBuf),
    /// A device or a named pipe, open for writing.
    Stream(File),
}

impl Place {
    /// What `path` leads to. A file is not opened for longer than it takes to see that it may be written to.
    pub fn of(path: &Path) -> Result<Place> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => {
                OpenOptions::new().write(true).open(path).map_err(Error::io(path))?;
                match path.is_symlink() {
                    true => fs::canonicalize(path).map(Place::File).map_err(Error::io(path)),
                    false => Ok(Place::File(path.into())),
                }
            }
            Ok(found) if found.is_dir() => Err(Error::checkpoint(path, "a folder; give the name of a file in it")),
            Ok(found) => open_stream(path, &found).map(Place::Stream),
            Err(e) if e.kind() == io::ErrorKind::NotFound => end_of_links(path).map(Place::File),
            Err(e) => Err(Error::io(path)(e)),
        }
    }
}

/// Where the links end that lead from `path` to nothing.
fn end_of_links(path: &Path) -> Result<PathBuf> {
    let mut end = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&end) {
            Ok(next) => end = end.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(end),
        }
    }
    Err(Error::checkpoint(path, "a link that leads round in a circle"))
}

#[cfg(unix)]
fn open_stream(path: &Path, found: &fs::Metadata) -> Result<File> {
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    use std::time::{Duration, Instant};

    /// How long a pipe may be without a reader.
    const WAIT: Duration = Duration::from_secs(3);

    let kind = found.file_type();
    if kind.is_block_device() || kind.is_socket() {
        let what = if kind.is_socket() { "a socket" } else { "a disk" };
        return Err(Error::checkpoint(path, format!("{what}; give the name of a file")));
    }
    let open = |flags| OpenOptions::new().write(true).custom_flags(flags).open(path);
    if !kind.is_fifo() {
        return open(0).map_err(Error::io(path));
    }
    // Opened plainly, a pipe that nobody reads would hold the program for ever.
    let until = Instant::now() + WAIT;
    loop {
        match open(libc::O_NONBLOCK) {
            Ok(_reader_is_there) => return open(0).map_err(Error::io(path)),
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => {
                return Err(Error::checkpoint(path, "a named pipe that nothing reads; start its reader first"));
            }
            Err(e) => return Err(Error::io(path)(e)),
        }
    }
}

#[cfg(not(unix))]
fn open_stream(path: &Path, _: &fs::Metadata) -> Result<File> {
    OpenOptions::new().write(true).open(path).map_err(Error::io(path))
}

/// Gives `new` the mode of the file `old` that it is to replace, and the owner where the system allows it. Where there is
/// no such file, and on file systems without modes, everything stays as it is.
pub(super) fn keep_mode(old: &Path, new: &Path) -> io::Result<()> {
    let Ok(held) = fs::metadata(old) else { return Ok(()) };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // Before the mode: a change of owner takes bits away.
        if fs::metadata(new).is_ok_and(|made| (made.uid(), made.gid()) != (held.uid(), held.gid())) {
            let _ = std::os::unix::fs::chown(new, Some(held.uid()), Some(held.gid()));
        }
    }
    let _ = fs::set_permissions(new, held.permissions());
    Ok(())
}

/// Whether the system says by `error` that a file system has no such thing (locks, flushing a folder, renaming one), in
/// place of having failed at it.
pub fn lacks(error: &io::Error) -> bool {
    #[cfg(unix)]
    if let Some(code) = error.raw_os_error() {
        return [
            libc::EINVAL,
            libc::ENOSYS,
            libc::EOPNOTSUPP,
            libc::ENOTSUP,
            libc::ENOLCK,
            libc::EBADF,
            libc::ENOTTY,
            libc::EISDIR,
            libc::EACCES,
            libc::EPERM,
            libc::EXDEV,
        ]
        .contains(&code);
    }
    error.kind() == io::ErrorKind::Unsupported
}

/// Warns on standard error, once in a process for each `topic`.
pub fn warn_once(topic: &'static str, message: &str) {
    static TOLD: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    if TOLD.lock().is_ok_and(|mut told| told.insert(topic)) {
        tracing::warn!("{message}");
    }
}
