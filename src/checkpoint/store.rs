//! The checkpoints of a run: `checkpoints/step-N`, and `checkpoints/last` with the name of the newest.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    files::CHECKPOINT_FILES,
    folder::{read, write},
};
use super::{
    names::CHECKPOINTS,
    record::{Record, holds_none, move_checkpoint},
};
use crate::{
    durable::{
        lacks, new_folder, partial_of, remove_folder, remove_partials, rename, sync_folder, sync_parent,
        write_atomically,
    },
    error::{Error, Result},
    train::snapshot::Snapshot,
};

/// The file with the name of the newest checkpoint.
const LAST: &str = "last";

/// The checkpoints of a run.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    record: Record,
}

/// The newest complete checkpoint.
#[derive(Debug)]
pub struct Found {
    /// What it holds.
    pub snapshot: Snapshot,
    /// Its folder.
    pub path: PathBuf,
    /// Newer ones that are not complete: where, and why not.
    pub passed_over: Vec<String>,
}

impl Checkpoints {
    /// Those of a run folder.
    pub fn of(run: &Path) -> Checkpoints {
        Checkpoints { folder: run.join(CHECKPOINTS), record: Record::of(run) }
    }

    /// Where the checkpoint of a step is.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    /// The folder of all.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates the folder where it is missing and removes what interrupted saves left.
    pub fn prepare(&self) -> Result<()> {
        fs::create_dir_all(&self.folder).and_then(|()| sync_parent(&self.folder)).map_err(Error::io(&self.folder))?;
        let own = self.record.names()?.unwrap_or_default();
        remove_partials(&self.folder, |name| own.contains(&named(name)), &CHECKPOINT_FILES)?;
        // An empty one is nobody's.
        let bare = |name: &str| is_step(name) && partial_of(&self.folder.join(name)).is_dir();
        remove_partials(&self.folder, bare, &[])
    }

    /// Steps that have a checkpoint, complete or not, in rising order.
    pub fn steps(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let step = |name: &str| {
            let digits = name.strip_prefix("step-")?;
            digits.parse().ok().filter(|n: &u64| n.to_string() == digits)
        };
        let mut steps: Vec<u64> = entries.filter_map(|e| step(e.file_name().to_str()?)).collect();
        // Where only someone's own files are left of one that was removed, there is no checkpoint.
        steps.retain(|step| !holds_none(&self.path(*step)));
        steps.sort_unstable();
        steps
    }

    /// The newest complete checkpoint, none where there is none at all. With checkpoints of which not one is complete,
    /// the error says what is wrong with each.
    pub fn newest(&self) -> Result<Option<Found>> {
        let mut passed_over = Vec::new();
        for step in self.steps().into_iter().rev() {
            let path = self.path(step);
            match read(&path) {
                Ok(snapshot) if snapshot.step == step => return Ok(Some(Found { snapshot, path, passed_over })),
                Ok(snapshot) => passed_over.push(format!("{}: holds step {}", path.display(), snapshot.step)),
                Err(error) => passed_over.push(error.to_string()),
            }
        }
        if passed_over.is_empty() {
            return Ok(None);
        }
        let reason = format!(
            "no checkpoint is complete ({}); restore one from a copy, or start again with --overwrite",
            passed_over.join("; ")
        );
        Err(Error::checkpoint(&self.folder, reason))
    }

    /// Saves a snapshot as `step-N` and then removes the oldest checkpoints beyond `keep`. It is written beside and
    /// flushed, gets its name, and the folder is flushed; only then is anything older touched. On failure what was
    /// written is removed, older checkpoints stay, and the error says which step they hold.
    pub fn save(&self, snapshot: &Snapshot, keep: usize) -> Result<PathBuf> {
        let path = self.path(snapshot.step);
        let partial = partial_of(&path);
        let explain = |error| self.explain(snapshot.step, error);
        if !self.record.claim(&named(&format!("step-{}", snapshot.step))).map_err(explain)? {
            let reason = "no file of this run: move it elsewhere, then continue with --resume";
            return Err(Error::checkpoint(path, reason));
        }
        self.place(snapshot, &partial, &path).map_err(|error| {
            let _ = remove_folder(&partial, &CHECKPOINT_FILES);
            explain(error)
        })?;
        self.name_last(snapshot.step).and_then(|()| self.remove_oldest(snapshot.step, keep)).map_err(explain)?;
        Ok(path)
    }

    fn place(&self, snapshot: &Snapshot, partial: &Path, path: &Path) -> Result<()> {
        new_folder(partial, &CHECKPOINT_FILES).map_err(Error::io(partial))?;
        write(snapshot, partial)?;
        move_checkpoint(partial, path).map_err(Error::io(path))?;
        sync_folder(&self.folder).map_err(Error::io(&self.folder))
    }

    /// Writes the name of the newest checkpoint, unless something of someone else's has that place.
    fn name_last(&self, step: u64) -> Result<()> {
        let (path, name) = (self.folder.join(LAST), format!("step-{step}\n"));
        if !self.record.claim(&named(LAST))? || path.is_symlink() || path.is_dir() {
            return Ok(());
        }
        write_atomically(&path, |to| to.write_all(name.as_bytes()))
    }

    /// Keeps the `keep` newest up to `step`, of those that the run recorded. A folder loses its name first, so that no
    /// half-removed one is ever met; one in which someone put files loses its manifest first, and stays with them.
    fn remove_oldest(&self, step: u64, keep: usize) -> Result<()> {
        let own = self.record.names()?.unwrap_or_default();
        let own = |step: &u64| own.contains(&named(&format!("step-{step}")));
        let held: Vec<u64> = self.steps().into_iter().filter(|s| *s <= step && own(s)).collect();
        for old in &held[..held.len().saturating_sub(keep.max(1))] {
            let (path, doomed) = (self.path(*old), partial_of(&self.path(*old)));
            let renamed = match holds_nothing_else(&path).then(|| rename(&path, &doomed)) {
                Some(Err(error)) if !lacks(&error) => return Err(Error::io(path)(error)),
                Some(Ok(())) => doomed,
                _ => path.clone(),
            };
            remove_folder(&renamed, &CHECKPOINT_FILES).map_err(Error::io(path))?;
        }
        Ok(())
    }

    /// Renames the checkpoints of steps after `step` to `step-N.set-aside` and returns their names: a run that goes on
    /// from `step` will make its own.
    pub fn set_aside_after(&self, step: u64) -> Result<Vec<String>> {
        let later = self.steps().into_iter().filter(|s| *s > step);
        let moved = later.map(|later| {
            let (path, name) = (self.path(later), self.free_name(later)?);
            move_checkpoint(&path, &self.folder.join(&name)).map_err(Error::io(path))?;
            Ok(name)
        });
        moved.collect()
    }

    /// A name for a checkpoint set aside. An earlier one of the same step makes room.
    fn free_name(&self, step: u64) -> Result<String> {
        for number in 1.. {
            let more = if number == 1 { String::new() } else { format!("-{number}") };
            let name = format!("step-{step}.set-aside{more}");
            let path = self.folder.join(&name);
            if self.record.claim(&named(&name))? && remove_folder(&path, &CHECKPOINT_FILES).map_err(Error::io(path))? {
                return Ok(name);
            }
        }
        unreachable!("a folder holds fewer names than there are numbers")
    }

    /// What a failed save means for a person: where, why, what is still there and what to do.
    fn explain(&self, step: u64, error: Error) -> Error {
        let Error::Io { path, source } = error else { return error };
        let kept = match self.steps().last() {
            Some(newest) if *newest == step => "the checkpoint of this step is complete all the same".to_owned(),
            Some(newest) => format!("the checkpoint of step {newest} is untouched"),
            None => "there is no earlier checkpoint".to_owned(),
        };
        Error::checkpoint(
            path,
            format!("saving step {step} failed: {source}; {kept}. Make room on the disk, then continue with --resume"),
        )
    }
}

/// Whether a checkpoint may have this name.
fn is_step(name: &str) -> bool {
    name.strip_prefix("step-").is_some_and(|digits| digits.parse::<u64>().is_ok())
}

/// What a record calls a name in the folder of checkpoints.
fn named(name: &str) -> String {
    format!("{CHECKPOINTS}/{name}")
}

/// Whether a folder holds files of a checkpoint alone.
fn holds_nothing_else(folder: &Path) -> bool {
    let own = |entry: fs::DirEntry| CHECKPOINT_FILES.iter().any(|name| entry.file_name() == *name);
    fs::read_dir(folder).is_ok_and(|entries| entries.flatten().all(own))
}

#[cfg(test)]
mod tests;
