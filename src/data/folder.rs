//! Image files below a folder.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::decode::read_file;
use super::endings;
use super::labels::{self, Classes, Labels, folder_at};
use super::names::{Names, is_hidden};
use super::passed::PassedOver;
use super::source::{Source, Stored};
use super::splits;
use super::walk::Walked;
use crate::error::{Error, Result};
use crate::text::{shown, shown_path};

/// How many images are tried, spread over the folder, before it is said to hold none that can be read.
const TRIED: usize = 32;

/// All image files below a folder, in the order of their paths.
pub(super) struct Folder {
    root: PathBuf,
    paths: Names,
    passed: PassedOver,
}

impl Folder {
    /// The images that were found below `root`.
    pub(super) fn new(root: &Path, found: Walked) -> Folder {
        let mut folder = Folder { root: root.to_owned(), paths: found.images, passed: found.passed };
        let last = folder.len().min(100_000);
        if (0..last).any(|index| folder.path(index).ends_with("data_batch_1.png")) {
            let note = format!("{} looks like CIFAR-10; for its single images give cifar10:DIR", root.display());
            folder.passed.notes.push(note);
        }
        folder
    }

    /// The path of an image below the root.
    fn path(&self, index: usize) -> &Path {
        // SAFETY: the names of a folder are whole encodings of paths, as the walk has put them there.
        Path::new(unsafe { OsStr::from_encoded_bytes_unchecked(self.paths.get(index)) })
    }

    /// Looks for one readable image among a few spread over the folder.
    pub(super) fn try_some(&self) -> Result<()> {
        let tried = self.len().min(TRIED);
        let mut reasons = Vec::new();
        for index in (0..tried).map(|i| i * self.len() / tried) {
            match self.load(index, 3) {
                Ok(_) => return Ok(()),
                Err(reason) => reasons.push(format!("{} ({reason})", shown(&self.name(index)))),
            }
        }
        reasons.truncate(3);
        let (root, found, reasons) = (shown_path(&self.root), self.len(), reasons.join(", "));
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

    fn labels(&self, column: Option<&str>) -> Result<Labels> {
        let place = self.place();
        labels::no_column(&place, column)?;
        // Where folders at the top are the parts of a data set, the classes lie below these.
        let top = |index| folder_at(self.paths.get(index), 0);
        let mut tops: BTreeSet<&[u8]> = (0..self.len()).filter_map(top).collect();
        let parts = splits::side_by_side(tops.iter().copied());
        tops.retain(|top| splits::is_part(top));
        let class = |index| match parts {
            true => top(index).filter(|top| tops.contains(top)).and_then(|_| folder_at(self.paths.get(index), 1)),
            false => top(index),
        };
        let found = labels::by_folder(self.len(), class).map_err(|reason| labels::refuse(&place, &reason))?;
        let above: Vec<PathBuf> = match parts {
            true => tops.iter().map(|top| self.root.join(String::from_utf8_lossy(top).as_ref())).collect(),
            false => vec![self.root.clone()],
        };
        if let Classes::Names(names) = found.classes() {
            above.iter().try_for_each(|folder| self.refuse_empty_class(folder, names))?;
        }
        Ok(found)
    }

    fn folder(&self, index: usize) -> Option<String> {
        folder_at(self.paths.get(index), 0).map(|folder| String::from_utf8_lossy(folder).into_owned())
    }

    fn identify(&self, index: usize, key: &mut Vec<u8>) {
        let separated = |byte: &u8| if std::path::is_separator(char::from(*byte)) { b'/' } else { *byte };
        key.extend(self.paths.get(index).iter().map(separated));
    }

    fn passed_over(&self) -> PassedOver {
        self.passed.clone()
    }
}

impl Folder {
    /// Refuses that a folder in `above` has no image and so is no class of these `names`.
    fn refuse_empty_class(&self, above: &Path, names: &[String]) -> Result<()> {
        let known: HashSet<&str> = names.iter().map(String::as_str).collect();
        let root = self.root.canonicalize().unwrap_or_default();
        let unreadable = |error| Error::Images(format!("{}: {error}; make the folder readable", shown_path(above)));
        for entry in std::fs::read_dir(above).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_name().unwrap_or_default();
            let is_run = self.passed.run_folders.contains(&path.display().to_string());
            // Neither those that a listing leaves out nor links to what lies above.
            let is_class = !is_hidden(name.as_encoded_bytes())
                && !is_run
                && path.is_dir()
                && path.canonicalize().is_ok_and(|to| !root.starts_with(to));
            if is_class && !known.contains(&*name.to_string_lossy()) {
                let reason = "the class holds no image; put some into its folder, or remove it";
                return Err(labels::refuse(&path.display().to_string(), reason));
            }
        }
        Ok(())
    }
}

/// What to say of a folder without images.
pub(super) fn holds_nothing(root: &Path, passed: &PassedOver) -> Error {
    let (root, endings) = (shown_path(root), endings::all().join(", "));
    let but: String = passed.lines().iter().map(|line| format!(". {line}")).collect();
    Error::Images(format!(
        "{root} holds no images; it needs files ending in {endings}, tar or parquet, in it or in folders below it{but}"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::walk::walk;
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
        let folder = Folder::new(root, walk(root, None)?);
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
        assert_eq!([0, 1, 3].map(|index| found.folder(index)), [None, Some("b".into()), Some("c".into())]);
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
        assert!(message.contains(path) && message.contains("jpeg, jpg, pjp, pjpeg, png, tif"), "{message}");
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
        symlink("self", folder.path().join("self")).unwrap();
        let found = open(folder.path()).unwrap();
        assert_eq!(names(&found), ["a/1.png", "b/2.png"]);
        let links = found.passed_over().links;
        assert!(links.len() == 3 && links[0].contains("a/up leads back to a folder above it"), "{links:?}");
        assert!(links[1].contains("broken.png leads nowhere") && links[2].contains("self leads nowhere"), "{links:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_may_not_be_read_is_named_and_passed_over() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder(&["a.png", "locked/b.png", "z/c.png"]);
        let locked = folder.path().join("locked");
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        let found = open(folder.path()).unwrap();
        let readable_anyway = fs::read_dir(&locked).is_ok();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
        // The superuser reads every folder; `tests/data.rs` lets another user look.
        if readable_anyway {
            return assert_eq!((found.len(), found.passed_over().unreadable.len()), (3, 0));
        }
        assert_eq!(names(&found), ["a.png", "z/c.png"]);
        let unreadable = found.passed_over().unreadable;
        assert!(unreadable[0].contains("locked (Permission denied"), "{unreadable:?}");
    }

    #[test]
    fn what_is_passed_over_is_counted() {
        let folder = folder(&["a/1.png", "a/1.seg.png", "a/1_mask.png", "a/.x/2.png", "__MACOSX/a/._1.png", "b.jpg.1"]);
        for name in ["notes.txt", "more.TXT", "LICENSE", "a/x.heic", "a/shard.tar"] {
            fs::write(folder.path().join(name), "no image").unwrap();
        }
        fs::rename(folder.path().join("a/1.seg.png"), folder.path().join("a/1.seg.PNG")).unwrap();
        let found = open(folder.path()).unwrap();
        assert_eq!(names(&found), ["a/1.png", "a/1_mask.png", "b.jpg.1"]);
        let passed = found.passed_over();
        let expected = [(".heic", 1), (".tar", 1), (".txt", 2), ("none", 1)].map(|(name, n)| (name.to_owned(), n));
        assert!(passed.endings.clone().into_iter().eq(expected), "{passed:?}");
        assert_eq!((passed.hidden, passed.masks, passed.special), (2, 1, 0));
        let notes = passed.notes.join("\n");
        assert!(
            notes.contains("1 images are named like masks") && notes.contains("also holds 1 tar or parquet"),
            "{notes}"
        );
    }

    #[test]
    fn the_folders_of_runs_are_left_out() {
        let folder =
            folder(&["1.png", "run/samples/step-2.png", "old/samples/x.png", "mine/samples/2.png", "own/3.png"]);
        for path in ["run/run.lock", "run/config.toml", "old/metrics.jsonl", "old/config.toml", "mine/config.toml"] {
            fs::write(folder.path().join(path), "").unwrap();
        }
        let of = |run: Option<&Path>| Folder::new(folder.path(), walk(folder.path(), run).unwrap());
        assert_eq!(names(&of(None)), ["1.png", "mine/samples/2.png", "own/3.png"]);
        // The run's own folder, before it is one; also where it is the images' own.
        let own = folder.path().join("mine/../own");
        let found = of(Some(&own));
        assert_eq!(names(&found), ["1.png", "mine/samples/2.png"]);
        let left = found.passed_over().run_folders;
        assert!(left.len() == 3 && left[2].ends_with("run"), "{left:?}");
        let among = Folder::new(
            &folder.path().join("mine"),
            walk(&folder.path().join("mine"), Some(&folder.path().join("mine"))).unwrap(),
        );
        assert!(among.is_empty());
        // A run's pictures are taken by their name.
        assert_eq!(open(&folder.path().join("run/samples")).unwrap().len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_named_as_an_image_is_passed_over() {
        let folder = folder(&["1.png"]);
        for name in ["pipe.png", "pipe"] {
            assert!(std::process::Command::new("mkfifo").arg(folder.path().join(name)).status().unwrap().success());
        }
        let found = open(folder.path()).unwrap();
        assert_eq!((found.len(), found.passed_over().special), (1, 2));
    }
}
