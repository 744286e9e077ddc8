//! What lies below a folder: images, archives of them, and what is passed over.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::companions;
use super::endings::{self, Named, START};
use super::names::{Names, is_hidden};
use super::passed::PassedOver;
use super::splits;
use crate::error::{Error, Result};
use crate::text::shown_path;

/// The endings of files that hold many images, and are taken from a folder without image files.
const SHARDS: [&str; 2] = ["parquet", "tar"];

/// The endings of compressed archives.
const PACKED: [&str; 9] = [".7z", ".bz2", ".gz", ".rar", ".tgz", ".txz", ".xz", ".zip", ".zst"];

/// What a run writes into its folder, see `docs/run-folder.md`.
const RUN: [&str; 5] = ["run.lock", "config.toml", "metrics.jsonl", "checkpoints", "train.log"];

/// The folders of a run.
const RUN_FOLDERS: [&str; 3] = ["checkpoints", "events", "samples"];

/// What was found below a folder.
#[derive(Default)]
pub(super) struct Walked {
    /// The paths of the images, relative to the folder and sorted.
    pub(super) images: Names,
    /// The paths of archives and tables, sorted.
    pub(super) shards: Vec<PathBuf>,
    pub(super) passed: PassedOver,
}

/// Lists what lies below `root`, apart from the folder of the run that is to read it and of other runs.
///
/// # Errors
/// [`Error::Images`] when `root` itself cannot be read. What cannot be read below it is passed over.
pub(super) fn walk(root: &Path, run: Option<&Path>) -> Result<Walked> {
    let mut found = Walked::default();
    let own = run.and_then(|run| Some((run.file_name()?.to_owned(), run.canonicalize().ok()?)));
    // The run's files may lie among the images.
    let root_is_run =
        is_run(root) || own.as_ref().is_some_and(|(_, run)| root.canonicalize().is_ok_and(|root| root == *run));
    let mut entries = WalkDir::new(root).follow_links(true).into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.depth() == 0 && error.loop_ancestor().is_none() => {
                let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                let reason = format!("{}: {reason}; make the folder readable or move it elsewhere", shown_path(root));
                return Err(Error::Images(reason));
            }
            Err(error) => {
                found.passed.failed(root, &error);
                continue;
            }
        };
        if entry.depth() > 0 && is_hidden(entry.file_name().as_encoded_bytes()) {
            found.passed.hidden += 1;
            if entry.file_type().is_dir() {
                entries.skip_current_dir();
            }
        } else if entry.file_type().is_dir() {
            let is_own = |(name, path): &(_, PathBuf)| {
                entry.file_name() == name && entry.path().canonicalize().is_ok_and(|found| found == *path)
            };
            let in_root_run =
                entry.depth() == 1 && root_is_run && RUN_FOLDERS.iter().any(|name| entry.file_name() == *name);
            if entry.depth() > 0 && (in_root_run || own.as_ref().is_some_and(is_own) || is_run(entry.path())) {
                found.passed.run_folders.push(entry.path().display().to_string());
                entries.skip_current_dir();
            }
        } else if entry.file_type().is_file() {
            found.take(root, entry);
        } else {
            found.passed.special += 1;
        }
    }
    found.settle(root)?;
    Ok(found)
}

/// Whether a folder is a run's: it has the lock and something else that runs write, or settings and metrics.
fn is_run(folder: &Path) -> bool {
    let has = |name: &&str| folder.join(name).exists();
    match has(&RUN[0]) {
        true => RUN[1..].iter().any(has),
        false => has(&RUN[1]) && has(&RUN[2]),
    }
}

impl Walked {
    /// Sorts a file in by its name, and where that does not tell by its first bytes.
    fn take(&mut self, root: &Path, entry: DirEntry) {
        let name = entry.file_name().as_encoded_bytes();
        let is_image = match endings::named(name) {
            Named::Image => true,
            Named::Perhaps => starts_as_image(entry.path()),
            Named::Other => false,
        };
        if is_image {
            let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
            self.images.push(path.as_os_str().as_encoded_bytes());
            return;
        }
        self.passed.count_ending(name);
        let ending = endings::ending(name).unwrap_or_default();
        if SHARDS.iter().any(|known| ending.eq_ignore_ascii_case(known.as_bytes())) {
            self.shards.push(entry.into_path());
        }
    }

    /// Puts everything in order, and leaves masks out.
    fn settle(&mut self, root: &Path) -> Result<()> {
        let place = shown_path(root);
        let order = self.images.order().map_err(|reason| Error::Images(format!("{place}: {reason}")))?;
        self.images = self.images.reordered(&order);
        if let Some(kept) = without_companions(&self.images, &mut self.passed) {
            self.images = self.images.reordered(&kept);
        }
        self.passed.notes.extend(splits::mixed_folders(&self.images, Some(&place)));
        self.passed.links.sort();
        self.passed.run_folders.sort();
        self.passed.unreadable.sort();
        self.shards.sort();
        let packed = PACKED.iter().any(|ending| self.passed.endings.contains_key(*ending));
        if packed && self.images.len() == 0 && self.shards.is_empty() {
            self.passed.notes.push("compressed archives are not looked into; unpack them".into());
        }
        if self.images.len() > 0 && !self.shards.is_empty() {
            let (images, shards) = (self.images.len(), self.shards.len());
            self.passed.notes.push(format!(
                "{place} also holds {shards} tar or parquet files, which are passed over since there are image files \
                 ({images}); name them, as in {place}/*.tar, to take them instead"
            ));
        }
        Ok(())
    }
}

/// The numbers of the images that are no masks and labels, which are counted; none where that is all of them. Those
/// that may be masks are noted.
pub(super) fn without_companions(images: &Names, passed: &mut PassedOver) -> Option<Vec<u32>> {
    let found = companions::find(images.len(), |index| images.get(index));
    if let Some((count, first)) = found.doubtful {
        let first = String::from_utf8_lossy(images.get(first as usize));
        passed
            .notes
            .push(format!("{count} images are named like masks or labels of others, and are taken: {first}, …"));
    }
    passed.masks += found.masks.len();
    let mut masks = found.masks.iter().peekable();
    let kept = (0..images.len() as u32).filter(|number| masks.next_if_eq(&number).is_none());
    (!found.masks.is_empty()).then(|| kept.collect())
}

/// Whether a file begins as an image does. Only files that are no pipes may be asked.
fn starts_as_image(path: &Path) -> bool {
    let mut start = Vec::with_capacity(START);
    let read = File::open(path).and_then(|file| file.take(START as u64).read_to_end(&mut start));
    read.is_ok() && endings::starts_as_image(&start)
}

impl PassedOver {
    /// Notes what could not be looked at below `root`.
    fn failed(&mut self, root: &Path, error: &walkdir::Error) {
        let path = error.path().unwrap_or(root);
        if path.file_name().is_some_and(|name| is_hidden(name.as_encoded_bytes())) {
            self.hidden += 1;
        } else if let Some(above) = error.loop_ancestor() {
            self.links.push(format!("{} leads back to a folder above it, {}", path.display(), above.display()));
        } else if path.is_symlink() && !path.exists() {
            self.links.push(format!("{} leads nowhere", path.display()));
        } else {
            let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
            self.unreadable.push(format!("{} ({reason})", path.display()));
        }
    }
}
