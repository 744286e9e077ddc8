//! Image files below a folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::decode::{ENDINGS, read_file};
use super::names::Names;
use super::source::{Source, Stored};
use crate::error::{Error, Result};

/// How many images are tried, spread over the folder, before it is said to hold none that can be read.
const TRIED: usize = 32;

/// All image files below a folder, in the order of their paths.
pub(super) struct Folder {
    root: PathBuf,
    paths: Names,
}

impl Folder {
    /// Lists the images below `root`.
    pub(super) fn list(root: &Path) -> Result<Folder> {
        let folder = Folder { root: root.to_owned(), paths: list(root)? };
        let last = folder.len().min(100_000);
        if (0..last).any(|index| folder.path(index).ends_with("data_batch_1.png")) {
            tracing::warn!("{} looks like CIFAR-10; for its single images give cifar10:DIR", root.display());
        }
        Ok(folder)
    }

    /// What to say of a folder without images.
    pub(super) fn holds_nothing(&self) -> Error {
        let (root, endings) = (self.root.display(), ENDINGS.join(", "));
        Error::Images(format!(
            "{root} holds no images; it needs files ending in {endings}, tar or parquet, in it or in folders below it"
        ))
    }

    /// The path of an image below the root.
    fn path(&self, index: usize) -> &Path {
        // SAFETY: the names of a folder are whole encodings of paths, as `list` has put them there.
        Path::new(unsafe { OsStr::from_encoded_bytes_unchecked(self.paths.get(index)) })
    }

    /// Looks for one readable image among a few spread over the folder.
    pub(super) fn try_some(&self) -> Result<()> {
        let tried = self.len().min(TRIED);
        let mut reasons = Vec::new();
        for index in (0..tried).map(|i| i * self.len() / tried) {
            match self.load(index, 3) {
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
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn len(&self) -> usize {
        self.paths.len()
    }

    fn name(&self, index: usize) -> String {
        self.root.join(self.path(index)).display().to_string()
    }

    fn read(&self, index: usize) -> Result<Stored, String> {
        read_file(&self.root.join(self.path(index))).map(Stored::Encoded)
    }

    fn label(&self, index: usize) -> Option<String> {
        let mut parts = self.path(index).components();
        let first = parts.next()?;
        parts.next().map(|_| first.as_os_str().to_string_lossy().into_owned())
    }
}

/// The paths of the images below `root`, relative to it and sorted, so that an image keeps its number wherever the
/// folder is moved.
fn list(root: &Path) -> Result<Names> {
    let hidden = |entry: &DirEntry| entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
    let mut paths = Names::default();
    for entry in WalkDir::new(root).follow_links(true).into_iter().filter_entry(|entry| !hidden(entry)) {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_image(entry.file_name().as_encoded_bytes()) => {
                let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
                paths.push(path.as_os_str().as_encoded_bytes());
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
    let count = u32::try_from(paths.len());
    let count = count.map_err(|_| Error::Images(format!("{} holds 2³² images or more", root.display())))?;
    // As paths are compared: part by part, so that a separator comes before every other byte.
    let key = |index: &u32| paths.get(*index as usize).iter().map(|&byte| if is_separator(byte) { 0 } else { byte });
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_unstable_by(|a, b| key(a).cmp(key(b)));
    Ok(paths.reordered(&order))
}

fn is_separator(byte: u8) -> bool {
    std::path::is_separator(char::from(byte))
}

/// Whether a file's name ends as an image's does.
pub(super) fn is_image(name: &[u8]) -> bool {
    let ending = name.iter().rposition(|&byte| byte == b'.').map(|dot| &name[dot + 1..]);
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(ending)))
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

    fn open(root: &Path) -> Result<Folder> {
        let folder = Folder::list(root)?;
        folder.try_some().map(|()| folder)
    }

    fn names(folder: &Folder) -> Vec<String> {
        (0..folder.len()).map(|index| folder.path(index).display().to_string()).collect()
    }

    #[test]
    fn images_are_found_in_all_folders_in_the_order_of_their_paths() {
        let folder = folder(&["b/2.PNG", "b/10.jpeg", "a.webp", "c/d/e.Jpg", ".hidden.png", ".git/x.png", "b/._2.png"]);
        fs::write(folder.path().join("notes.txt"), "no image").unwrap();
        let found = open(folder.path()).unwrap();
        assert_eq!(names(&found), ["a.webp", "b/10.jpeg", "b/2.PNG", "c/d/e.Jpg"]);
        assert_eq!([0, 1, 3].map(|index| found.label(index)), [None, Some("b".into()), Some("c".into())]);
        assert!(found.name(1).ends_with("b/10.jpeg") && found.name(1).starts_with(folder.path().to_str().unwrap()));
        let picture = found.load(1, 3).unwrap();
        assert_eq!((picture.height, picture.width, picture.channels), (2, 3, 3));
    }

    #[test]
    fn the_order_is_that_of_paths() {
        let folder = folder(&["a.b/1.png", "a/1.png", "a/b/1.png", "a-/1.png", "a/b.png"]);
        let mut expected = ["a.b/1.png", "a/1.png", "a/b/1.png", "a-/1.png", "a/b.png"].map(PathBuf::from);
        expected.sort();
        let found = open(folder.path()).unwrap();
        assert!((0..5).map(|index| found.path(index)).eq(expected.iter()), "{:?}", names(&found));
    }

    #[test]
    fn an_empty_folder_is_named_with_what_it_needs() {
        let folder = folder(&[]);
        let path = folder.path().to_str().unwrap();
        let message = super::super::open(path).err().unwrap().to_string();
        assert!(message.contains(path) && message.contains("jpeg, jpg, png, tif"), "{message}");
    }

    #[test]
    fn a_folder_without_a_readable_image_is_refused_at_once() {
        let folder = folder(&[]);
        for index in 0..40 {
            fs::write(folder.path().join(format!("{index:02}.jpg")), "not a JPEG").unwrap();
        }
        let message = open(folder.path()).err().unwrap().to_string();
        assert!(message.contains("none of the 32 images tried") && message.contains("00.jpg (neither"), "{message}");
        image::RgbImage::new(3, 2).save(folder.path().join("99.png")).unwrap();
        fs::remove_file(folder.path().join("00.jpg")).unwrap();
        let few = tempfile::tempdir().unwrap();
        fs::write(few.path().join("bad.png"), "").unwrap();
        image::RgbImage::new(3, 2).save(few.path().join("good.png")).unwrap();
        assert_eq!(open(few.path()).unwrap().len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_circles() {
        use std::os::unix::fs::symlink;
        let (folder, elsewhere) = (folder(&["a/1.png"]), folder(&["2.png"]));
        symlink(folder.path(), folder.path().join("a/up")).unwrap();
        symlink(elsewhere.path(), folder.path().join("b")).unwrap();
        symlink("/no/such/file.png", folder.path().join("broken.png")).unwrap();
        assert_eq!(names(&open(folder.path()).unwrap()), ["a/1.png", "b/2.png"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_may_not_be_read_is_named() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder(&["a.png", "locked/b.png"]);
        let locked = folder.path().join("locked");
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        let result = open(folder.path());
        let readable_anyway = fs::read_dir(&locked).is_ok();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
        match result {
            // The superuser reads every folder.
            Ok(found) => assert!(readable_anyway && found.len() == 2),
            Err(error) => assert!(error.to_string().contains("locked: Permission denied"), "{error}"),
        }
    }
}
