//! The two sides of a data set that has both: what to train on and what to test on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::Source;
use super::{cifar, idx, joined, open, places, splits, walk};
use crate::error::{Error, Result};
use crate::text::shown;

/// What to train on and what to test on.
pub(super) type Sides = [Arc<dyn Source>; 2];

/// Opens both sides of what `spec` names as [`open`](open::open) takes it, if it has both: the folders `train` and
/// `val`, `valid`, `validation` or `test`; tar, parquet or IDX files that are named so (`train-*`, `validation-*`,
/// `test-*`, `t10k-*`); the batches of CIFAR. A part for validation is preferred to one for testing. The folder `run` is
/// no part of the images.
///
/// # Errors
/// [`Error::Images`] as [`open`](open::open), and where several folders are of one side.
pub(super) fn open_sides(spec: &str, run: Option<&Path>) -> Result<Option<Sides>> {
    for (prefix, which) in [("cifar10:", 10), ("cifar100:", 100)] {
        if let Some(folder) = spec.strip_prefix(prefix) {
            return cifar::sides(open::folder_at(folder)?, Some(which));
        }
    }
    let root = Path::new(spec);
    if !root.is_dir() {
        let files = places::expand(spec)?;
        return splits::side_files(None, &files).map(|sides| opened(spec, sides)).transpose();
    }
    let folders = splits::side_folders(root);
    if let Some(folders) = folders.map_err(|reason| Error::Images(shown(&reason).into_owned()))? {
        let [train, test] = folders.map(|folder| open::open_beside(&folder.display().to_string(), run));
        return Ok(Some([train?, test?]));
    }
    if let Some(sides) = cifar::sides(root, None)? {
        return Ok(Some(sides));
    }
    let found = walk::walk(root, run)?;
    if found.images.len() > 0 {
        return Ok(None);
    }
    let files = if found.shards.is_empty() { idx::in_folder(root) } else { found.shards };
    splits::side_files(Some(root), &files).map(|sides| opened(spec, sides)).transpose()
}

/// Opens the files of both sides.
fn opened(spec: &str, [train, test]: [Vec<PathBuf>; 2]) -> Result<Sides> {
    let open = |files: Vec<PathBuf>| {
        // Messages name the first file, since both sides are in one place.
        let place = files.first().map_or_else(|| spec.to_owned(), |file| file.display().to_string());
        joined::open(&place, &files, super::PassedOver::default())
    };
    Ok([open(train)?, open(test)?])
}
