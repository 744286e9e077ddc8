//! How a user names a collection of images.

use std::path::Path;
use std::sync::Arc;

use super::source::Source;
use super::{cifar, folder, folder::Folder, idx, joined, places, splits, walk};
use crate::error::{Error, Result};
use crate::text::shown;

/// Opens what `spec` names.
///
/// * `DIR`: all image files below a folder, in the order of their paths; or, if it holds none, its tar shards, its
///   parquet files, CIFAR-10 or CIFAR-100 in the binary layout, or IDX files named as MNIST's. Links are followed, but
///   not round in circles; hidden files, masks beside photos and the folders of runs are left out. Of files that hold
///   many images only those for training are taken where their names or folders tell.
/// * `FILE`: a tar archive of images, a parquet file with a column of images, an array of images in IDX or NumPy's
///   layout. `{000..012}`, `{a,b}`, and `*` or `?` in the last part of the path stand for several files.
/// * `cifar10:DIR`, `cifar100:DIR`: the training images in the official binary layout, of CIFAR-10 also as five PNG
///   files with an image per row (`data_batch_1.png` to `_5.png`), in the folder or one folder below it.
///
/// [`Source::passed_over`] says what lies there and was not taken.
///
/// # Errors
/// [`Error::Images`] with the path and what to do when it is missing, empty, cannot be read or holds no image that can
/// be.
pub fn open(spec: &str) -> Result<Arc<dyn Source>> {
    open_beside(spec, None)
}

/// [`open`] for a run that writes into the folder `run`, which is no part of its images.
///
/// # Errors
/// As [`open`].
pub fn open_beside(spec: &str, run: Option<&Path>) -> Result<Arc<dyn Source>> {
    if let Some(folder) = spec.strip_prefix("cifar10:") {
        return cifar::open_10(folder_at(folder)?);
    }
    if let Some(folder) = spec.strip_prefix("cifar100:") {
        return cifar::open_100(folder_at(folder)?);
    }
    if Path::new(spec).is_dir() {
        return open_folder(Path::new(spec), run);
    }
    let paths = places::expand(spec)?;
    let mut passed = super::PassedOver::default();
    passed.notes.extend(splits::mixed_files(&paths));
    joined::open(spec, &paths, passed)
}

/// Opens a folder by its look.
fn open_folder(root: &Path, run: Option<&Path>) -> Result<Arc<dyn Source>> {
    let mut found = walk::walk(root, run)?;
    if found.images.len() > 0 {
        let found = Folder::new(root, found);
        found.try_some()?;
        return Ok(Arc::new(found));
    }
    if let Some(cifar) = cifar::recognise(root)? {
        return Ok(cifar);
    }
    if found.shards.is_empty() {
        let mut notes = Vec::new();
        let arrays = splits::training(root, idx::in_folder(root), &mut notes);
        if !arrays.is_empty() {
            let passed = super::PassedOver { notes, ..super::PassedOver::default() };
            return joined::open(&root.display().to_string(), &arrays, passed);
        }
    }
    match found.shards.is_empty() {
        true => Err(folder::holds_nothing(root, &found.passed)),
        false => {
            found.passed.without_shards(&found.shards);
            let shards = splits::training(root, found.shards, &mut found.passed.notes);
            joined::open(&root.display().to_string(), &shards, found.passed)
        }
    }
}

/// The path, if it is a folder.
pub(super) fn folder_at(path: &str) -> Result<&Path> {
    let folder = Path::new(path);
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(folder),
        Ok(_) => Err(Error::Images(format!("{} is a file; give the folder that holds the images", shown(path)))),
        Err(error) => Err(Error::Images(format!("{}: {error}; check the path of the image folder", shown(path)))),
    }
}

/// Whether two names mean the same images, however the path in them is written (`photos`, `./photos/`).
pub fn is_same_place(place: &str, other: &str) -> bool {
    let parts = |name: &str| {
        let kinds = ["cifar10:", "cifar100:"];
        let (kind, path) = kinds.iter().find_map(|kind| Some((*kind, name.strip_prefix(kind)?))).unwrap_or(("", name));
        Some((kind, std::fs::canonicalize(path).ok()?))
    };
    place == other || parts(place).is_some_and(|parts_of_place| parts(other) == Some(parts_of_place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_however_its_path_is_written() {
        let fixtures = format!("{}/tests/fixtures", env!("CARGO_MANIFEST_DIR"));
        assert!(is_same_place(&fixtures, &format!("{fixtures}/./labels/..")) && is_same_place("/none", "/none"));
        assert!(is_same_place(&format!("cifar10:{fixtures}"), &format!("cifar10:{fixtures}/")));
        assert!(!is_same_place(&fixtures, &format!("cifar10:{fixtures}")) && !is_same_place("/none", "/none/"));
    }

    fn refusal(spec: &str) -> String {
        let error = open(spec).err().expect("must be refused");
        assert_eq!(error.exit_code(), 3);
        error.to_string()
    }

    #[test]
    fn a_missing_place_is_named() {
        assert!(refusal("/no/such/folder").contains("/no/such/folder: No such file or directory"));
        assert!(refusal("cifar10:/no/such/folder").contains("/no/such/folder"));
        assert!(refusal("cifar100:/no/such/folder").contains("/no/such/folder"));
        assert!(refusal("/no/such/{0..2}.tar").contains("/no/such/0.tar: No such file or directory"));
    }

    #[test]
    fn a_file_of_another_kind_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert!(refusal(&format!("cifar10:{path}")).contains("is a file; give the folder"));
        let message = refusal(path);
        assert!(message.contains(path) && message.contains("an empty file"), "{message}");
    }
}
