//! Image files below a folder.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::decode::ENDINGS;
use super::source::Source;
use super::{Picture, decode};
use crate::error::{Error, Result};

/// How many images are tried, spread over the folder, before it is said to hold none that can be read.
const TRIED: usize = 32;

/// All image files below a folder, in the order of their paths.
pub(super) struct Folder {
    root: PathBuf,
    paths: Vec<PathBuf>,
    channels: usize,
}

impl Folder {
    /// Lists the images below `root` and makes sure that at least one of them can be read.
    pub(super) fn open(root: &Path, channels: usize) -> Result<Folder> {
        let paths = list(root)?;
        if paths.is_empty() {
            let hint = match root.join("data_batch_1.bin").exists() {
                true => format!("; for CIFAR-10 give cifar10:{}", root.display()),
                false => format!("; it needs files ending in {}, in it or in folders below it", ENDINGS.join(", ")),
            };
            return Err(Error::Images(format!("{} holds no images{hint}", root.display())));
        }
        if paths.iter().any(|path| path.ends_with("data_batch_1.png")) {
            tracing::warn!("{} looks like CIFAR-10; for its single images give cifar10:DIR", root.display());
        }
        let folder = Folder { root: root.to_owned(), paths, channels };
        folder.try_some()?;
        Ok(folder)
    }

    /// Looks for one readable image among a few spread over the folder.
    fn try_some(&self) -> Result<()> {
        let tried = self.len().min(TRIED);
        let mut reasons = Vec::new();
        for index in (0..tried).map(|i| i * self.len() / tried) {
            match self.load(index) {
                Ok(_) => return Ok(()),
                Err(reason) => reasons.push(format!("{} ({reason})", self.name(index))),
            }
        }
        reasons.truncate(3);
        let (root, found, reasons) = (self.root.display(), self.len(), reasons.join(", "));
        Err(Error::Images(format!(
            "none of the {tried} images tried in {root} (of {found}) can be read: {reasons}; are they whole image \
             files?"
        )))
    }
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn name(&self, index: usize) -> String {
        self.root.join(&self.paths[index]).display().to_string()
    }

    fn load(&self, index: usize) -> Result<Picture, String> {
        decode(&self.root.join(&self.paths[index]), self.channels)
    }
}

/// The paths of the images below `root`, relative to it and sorted, so that an image keeps its number wherever the
/// folder is moved.
fn list(root: &Path) -> Result<Vec<PathBuf>> {
    let hidden = |entry: &DirEntry| entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
    let mut paths = Vec::new();
    for entry in WalkDir::new(root).follow_links(true).into_iter().filter_entry(|entry| !hidden(entry)) {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_image(entry.path()) => {
                paths.push(entry.path().strip_prefix(root).unwrap_or(entry.path()).to_owned());
            }
            Ok(_) => {}
            Err(error) if error.loop_ancestor().is_some() => {
                tracing::warn!("a link that leads back to a folder above it is not followed: {error}");
            }
            Err(error) if error.depth() > 0 && is_broken_link(&error) => {
                tracing::warn!("a link that leads nowhere is left out: {error}");
            }
            Err(error) => {
                let path = error.path().unwrap_or(root).display().to_string();
                let reason = error.io_error().map_or_else(|| error.to_string(), |io| io.to_string());
                return Err(Error::Images(format!("{path}: {reason}; make the folder readable or move it elsewhere")));
            }
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

fn is_broken_link(error: &walkdir::Error) -> bool {
    error.path().is_some_and(|path| path.is_symlink() && !path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder with small PNG files at the given paths.
    fn folder(paths: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::new(3, 2).save_with_format(path, image::ImageFormat::Png).unwrap();
        }
        folder
    }

    fn names(folder: &Folder) -> Vec<String> {
        folder.paths.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn images_are_found_in_all_folders_in_the_order_of_their_paths() {
        let folder = folder(&["b/2.PNG", "b/10.jpeg", "a.webp", "c/d/e.Jpg", ".hidden.png", ".git/x.png", "b/._2.png"]);
        fs::write(folder.path().join("notes.txt"), "no image").unwrap();
        let found = Folder::open(folder.path(), 3).unwrap();
        assert_eq!(names(&found), ["a.webp", "b/10.jpeg", "b/2.PNG", "c/d/e.Jpg"]);
        assert!(found.name(1).ends_with("b/10.jpeg") && found.name(1).starts_with(folder.path().to_str().unwrap()));
        let picture = found.load(1).unwrap();
        assert_eq!((picture.height, picture.width, picture.channels), (2, 3, 3));
    }

    #[test]
    fn an_empty_folder_is_named_with_what_it_needs() {
        let folder = folder(&[]);
        let message = Folder::open(folder.path(), 3).err().unwrap().to_string();
        assert!(
            message.contains(folder.path().to_str().unwrap()) && message.contains("jpeg, jpg, png, tif"),
            "{message}"
        );
        fs::write(folder.path().join("data_batch_1.bin"), "").unwrap();
        let message = Folder::open(folder.path(), 3).err().unwrap().to_string();
        assert!(message.contains("give cifar10:"), "{message}");
    }

    #[test]
    fn a_folder_without_a_readable_image_is_refused_at_once() {
        let folder = folder(&[]);
        for index in 0..40 {
            fs::write(folder.path().join(format!("{index:02}.jpg")), "not a JPEG").unwrap();
        }
        let message = Folder::open(folder.path(), 3).err().unwrap().to_string();
        assert!(message.contains("none of the 32 images tried") && message.contains("00.jpg (neither"), "{message}");
        image::RgbImage::new(3, 2).save(folder.path().join("99.png")).unwrap();
        fs::remove_file(folder.path().join("00.jpg")).unwrap();
        let few = tempfile::tempdir().unwrap();
        fs::write(few.path().join("bad.png"), "").unwrap();
        image::RgbImage::new(3, 2).save(few.path().join("good.png")).unwrap();
        assert_eq!(Folder::open(few.path(), 3).unwrap().len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_circles() {
        use std::os::unix::fs::symlink;
        let (folder, elsewhere) = (folder(&["a/1.png"]), folder(&["2.png"]));
        symlink(folder.path(), folder.path().join("a/up")).unwrap();
        symlink(elsewhere.path(), folder.path().join("b")).unwrap();
        symlink("/no/such/file.png", folder.path().join("broken.png")).unwrap();
        assert_eq!(names(&Folder::open(folder.path(), 3).unwrap()), ["a/1.png", "b/2.png"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_may_not_be_read_is_named() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder(&["a.png", "locked/b.png"]);
        let locked = folder.path().join("locked");
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        let result = Folder::open(folder.path(), 3);
        let readable_anyway = fs::read_dir(&locked).is_ok();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
        match result {
            // The superuser reads every folder.
            Ok(found) => assert!(readable_anyway && found.len() == 2),
            Err(error) => assert!(error.to_string().contains("locked: Permission denied"), "{error}"),
        }
    }
}
