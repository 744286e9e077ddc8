//! The record that a run keeps, in its folder, of the files that it creates.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::{CHECKPOINT_FILES, names::Kind};
use crate::{
    durable::{append_synced, lacks, remove_folder, rename, sync_folder},
    error::{Error, Result},
};

/// The record's name inside a run folder.
pub const FILE_NAME: &str = "run.files";

/// The record's first line; each further one is a path inside the run folder, written before the file is created.
pub(crate) const HEAD: &str = "files of a bootmae run, version 1\n";

/// The record of a run folder.
#[derive(Clone, Debug)]
pub struct Record {
    pub(crate) run: PathBuf,
}

impl Record {
    /// That of a run folder; the file is made with the first entry.
    pub fn of(run: &Path) -> Record {
        Record { run: run.into() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.run.join(FILE_NAME)
    }

    /// What the run created, and what no longer is. None where there is no record, or only the beginning of one.
    pub fn names(&self) -> Result<Option<BTreeSet<String>>> {
        let path = self.path();
        let held = match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path)(e)),
            Ok(found) if !found.is_file() => return Err(foreign(&path)),
            Ok(_) => fs::read(&path).map_err(Error::io(&path))?,
        };
        if held.len() < HEAD.len() && HEAD.as_bytes().starts_with(&held) {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&held);
        let Some(names) = text.strip_prefix(HEAD) else { return Err(foreign(&path)) };
        // The last line has no end where a process was killed while it wrote it; its file was not created then.
        let whole = names.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        Ok(Some(whole.filter(|name| Kind::of(name).is_some()).map(String::from).collect()))
    }

    /// Notes that the run creates the file or folder `name`, before it does. False where something is there that the run
    /// did not create: then it must be left alone.
    pub fn claim(&self, name: &str) -> Result<bool> {
        debug_assert!(Kind::of(name).is_some(), "{name}");
        // Checkpoints are saved on a thread of their own.
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock();
        let held = self.names()?;
        if held.as_ref().is_some_and(|held| held.contains(name)) {
            return Ok(true);
        }
        let path = self.run.join(name);
        // What is left of a checkpoint that someone put files into takes those of another one in.
        let left = Kind::of(name) == Some(Kind::Checkpoint) && holds_none(&path);
        if path.symlink_metadata().is_ok() && !left {
            return Ok(false);
        }
        self.add(held.is_none(), [name])?;
        Ok(true)
    }

    /// Adds names; `new` begins the file.
    pub(crate) fn add<'n>(&self, new: bool, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
        let mut lines = if new { HEAD.to_owned() } else { String::new() };
        names.into_iter().for_each(|name| lines.extend([name, "\n"]));
        append_synced(&self.path(), &lines).map_err(Error::io(self.path()))
    }
}

/// What stands where the run would write is not its own.
pub(crate) fn foreign(path: &Path) -> Error {
    in_the_way(path, "is not what a run writes there")
}

fn in_the_way(path: &Path, why: &str) -> Error {
    Error::Config(format!("{} {why}. Nothing was changed. Move it elsewhere, or choose another --out", path.display()))
}

/// Whether a folder is there in which no file of a checkpoint is.
pub fn holds_none(folder: &Path) -> bool {
    let is_folder = folder.symlink_metadata().is_ok_and(|found| found.is_dir());
    is_folder && CHECKPOINT_FILES.iter().all(|name| folder.join(name).symlink_metadata().is_err())
}

/// Renames the folder of a checkpoint; file by file, the manifest last, where the file system renames no folders, or
/// where someone's own files are in a folder of that name already.
pub fn move_checkpoint(from: &Path, to: &Path) -> io::Result<()> {
    let error = match rename(from, to) {
        Err(error) if lacks(&error) || holds_none(to) => error,
        done => return done,
    };
    match to.symlink_metadata() {
        Err(_) => fs::create_dir(to)?,
        Ok(_) if holds_none(to) => {}
        Ok(_) => return Err(error),
    }
    for name in CHECKPOINT_FILES.iter().rev().filter(|name| from.join(name).exists()) {
        rename(&from.join(name), &to.join(name))?;
    }
    sync_folder(to)?;
    remove_folder(from, &[]).map(drop)
}
