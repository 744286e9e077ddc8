//! Numbered collections of images, and how a user names one.

use std::path::Path;
use std::sync::Arc;

use super::Picture;
use super::cifar10::Cifar10;
use super::folder::Folder;
use crate::error::{Error, Result};

/// A collection of images with stable numbers, read from many threads.
pub trait Source: Send + Sync {
    /// How many images there are, readable or not.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What to call an image in a message: its path, or its number in a file.
    fn name(&self, index: usize) -> String;

    /// Decodes an image. Whether it succeeds must depend on the image alone.
    ///
    /// # Errors
    /// Why it cannot be read, in words, without its name.
    fn load(&self, index: usize) -> Result<Picture, String>;
}

/// Opens what `spec` names, with images of `channels` values a pixel (1 to 4).
///
/// * `DIR`: all JPEG, PNG and WebP files below a folder, in the order of their paths. Links are followed, but not
///   round in circles; names that start with a dot are left out.
/// * `cifar10:DIR`: the 50,000 training images of CIFAR-10, in its binary layout (`data_batch_1.bin` to `_5.bin`) or as
///   five PNG files with an image per row (`data_batch_1.png` to `_5.png`), in the folder or one folder below it.
///
/// # Errors
/// [`Error::Config`] for an impossible number of channels, [`Error::Images`] with the path and what to do when the
/// folder is missing, empty, cannot be read or holds no image that can be.
pub fn open(spec: &str, channels: usize) -> Result<Arc<dyn Source>> {
    if !(1..=4).contains(&channels) {
        return Err(Error::Config(format!("channels must be 1 to 4, not {channels}")));
    }
    match spec.strip_prefix("cifar10:") {
        Some(folder) => Ok(Arc::new(Cifar10::open(folder_at(folder)?, channels)?)),
        None => Ok(Arc::new(Folder::open(folder_at(spec)?, channels)?)),
    }
}

/// The path, if it is a folder.
fn folder_at(path: &str) -> Result<&Path> {
    let folder = Path::new(path);
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(folder),
        Ok(_) => Err(Error::Images(format!("{path} is a file; give the folder that holds the images"))),
        Err(error) => Err(Error::Images(format!("{path}: {error}; check the path of the image folder"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(spec: &str) -> String {
        let error = open(spec, 3).err().expect("must be refused");
        assert_eq!(error.exit_code(), 3);
        error.to_string()
    }

    #[test]
    fn a_missing_folder_is_named() {
        assert!(refusal("/no/such/folder").contains("/no/such/folder: No such file or directory"));
        assert!(refusal("cifar10:/no/such/folder").contains("/no/such/folder"));
    }

    #[test]
    fn a_file_in_place_of_a_folder_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(refusal(file.path().to_str().unwrap()).contains("is a file; give the folder"));
    }

    #[test]
    fn impossible_channels_are_a_configuration_error() {
        assert_eq!(open(".", 5).err().unwrap().exit_code(), 2);
    }
}
