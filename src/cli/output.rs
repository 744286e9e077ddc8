//! A file that a person names for output.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use super::terminal::{errln, outln};
use crate::{
    durable::write_atomically,
    error::{Error, Result},
    run::written::is_of_a_run,
};

/// Names of standard output.
const STDOUT: [&str; 3] = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// Where a verb writes what it makes.
#[derive(Debug)]
pub struct Output<'p> {
    path: &'p Path,
}

impl<'p> Output<'p> {
    /// The file at `path`, which a person gave as `flag`. A file that is there is replaced later, as a whole. Refused are
    /// a folder, one of `inputs`, and what belongs to a run or checkpoint.
    pub fn new(flag: &str, path: &'p Path, inputs: &[&Path]) -> Result<Output<'p>> {
        let refused = |why: &str| Err(Error::Config(format!("{flag} {}: {why}", path.display())));
        let output = Output { path };
        if output.is_stdout() {
            return Ok(output);
        }
        if path.is_dir() || path.file_name().is_none() {
            return refused("a folder; give the name of a file in it");
        }
        if inputs.iter().any(|input| is_same(path, input)) {
            return refused("this file is read; give another name");
        }
        if is_of_a_run(path) {
            return refused("this file belongs to a run or checkpoint; give another name");
        }
        Ok(output)
    }

    fn is_stdout(&self) -> bool {
        cfg!(unix) && STDOUT.iter().any(|name| self.path == Path::new(name))
    }

    /// Writes the file as a whole, or into a device or pipe.
    pub fn write(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        if !self.is_stdout() {
            return write_atomically(self.path, write);
        }
        let mut stdout = io::stdout().lock();
        match write(&mut stdout).and_then(|()| stdout.flush()) {
            Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io(self.path)(e)),
            _ => Ok(()),
        }
    }

    /// Says something of it: on standard error where standard output is the file.
    pub fn say(&self, line: &str) {
        if self.is_stdout() {
            errln!("{line}");
        } else {
            outln!("{line}");
        }
    }
}

/// Whether two paths lead to one file.
fn is_same(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let number = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|m| (m.dev(), m.ino()));
        number(a).is_some_and(|a| Some(a) == number(b))
    }
    #[cfg(not(unix))]
    {
        fs::canonicalize(a).is_ok_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b && a.is_file()))
    }
}

/// The folder that `path` means: where it is a link, the one that the link leads to, which is then written into while
/// the link stays.
pub fn folder(flag: &str, path: &Path) -> Result<PathBuf> {
    let refused = |why: &str| Err(Error::Config(format!("{flag} {}: {why}", path.display())));
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => refused("not a folder; give a new one"),
        Ok(_) if path.is_symlink() => fs::canonicalize(path).map_err(Error::io(path)),
        Err(_) if path.is_symlink() => refused("a link that leads nowhere; give a new folder"),
        _ => Ok(path.into()),
    }
}
