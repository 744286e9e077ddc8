//! Tar archives of images, as WebDataset lays them out. An archive is listed once, never unpacked; an image is then
//! read from its place in it. Its images are numbered by their names, as those of the same tree of files are.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use tar::Entry;

use super::decode::MAX_BYTES;
use super::endings::{self, Named, START};
use super::entries::{below, each_entry};
use super::labels::{self, Labels};
use super::names::{Names, in_hidden};
use super::passed::PassedOver;
use super::records::read_range;
use super::source::{Locality, Source, Stored};
use super::splits;
use super::walk::without_companions;

/// Images that are read side by side before reading jumps.
const RUN: usize = 1024;

/// Images that are shuffled together.
const WINDOW: usize = 16 * RUN;

/// The image files of one archive.
pub(super) struct Shard {
    path: PathBuf,
    names: Names,
    /// Where the bytes of each image start, and how many they are.
    places: Vec<(u64, u64)>,
    passed: PassedOver,
}

/// What an archive was found to hold, in its own order.
#[derive(Default)]
struct Listing {
    names: Names,
    places: Vec<(u64, u64)>,
    /// Links named as images, each with the path that it leads to.
    links: Vec<(Vec<u8>, Vec<u8>)>,
    passed: PassedOver,
}

impl Shard {
    /// Lists an archive; where several were joined into one, all of them. Entries that are no image files (labels,
    /// captions, folders), hidden ones and masks are passed over.
    pub(super) fn open(path: &Path) -> Result<Shard, String> {
        let mut found = Listing::default();
        let notes = each_entry(path, |entry| found.take(entry))?;
        found.passed.notes.extend(notes);
        found.settle(path)
    }
}

impl Listing {
    /// Sorts an entry in by its name, and where that does not tell by its first bytes.
    fn take<R: Read>(&mut self, mut entry: Entry<'_, R>) {
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            return;
        }
        let path = entry.path_bytes().into_owned();
        let name = below(&path, b"").unwrap_or(path);
        let file_name = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default().to_owned();
        if in_hidden(&name) {
            self.passed.hidden += 1;
        } else if kind.is_file() {
            let place = (entry.raw_file_position(), entry.size());
            let is_image = match endings::named(&file_name) {
                Named::Image => true,
                Named::Perhaps => {
                    let mut start = Vec::with_capacity(START);
                    let read = entry.by_ref().take(START as u64).read_to_end(&mut start);
                    read.is_ok() && endings::starts_as_image(&start)
                }
                Named::Other => false,
            };
            match is_image {
                true => {
                    self.names.push(&name);
                    self.places.push(place);
                }
                false => self.passed.count_ending(&file_name),
            }
        } else if kind.is_hard_link() || kind.is_symlink() {
            if endings::named(&file_name) == Named::Other {
                return self.passed.count_ending(&file_name);
            }
            let folder: &[u8] = if kind.is_symlink() { &name[..name.len() - file_name.len()] } else { b"" };
            let target = entry.link_name_bytes().and_then(|target| below(&target, folder));
            self.links.push((name, target.unwrap_or_default()));
        } else {
            self.passed.special += 1;
        }
    }

    /// Follows the links and puts everything in order.
    fn settle(mut self, path: &Path) -> Result<Shard, String> {
        if !self.links.is_empty() {
            let names = self.names.clone();
            let numbers: HashMap<&[u8], usize> = (0..names.len()).map(|index| (names.get(index), index)).collect();
            for (name, target) in &self.links {
                match numbers.get(&target[..]) {
                    Some(&index) => {
                        self.names.push(name);
                        self.places.push(self.places[index]);
                    }
                    None => {
                        self.passed.links.push(format!("{}: {} leads to no image in it", path.display(), text(name)))
                    }
                }
            }
        }
        let order = self.names.order()?;
        let sorted = self.names.reordered(&order);
        let twice = (1..sorted.len()).filter(|&index| sorted.get(index) == sorted.get(index - 1)).count();
        if twice > 0 {
            let note = format!("{}: {twice} images have the name of an earlier one; all are taken", path.display());
            self.passed.notes.push(note);
        }
        let kept = without_companions(&sorted, &mut self.passed);
        let kept = kept.unwrap_or_else(|| (0..order.len() as u32).collect());
        let places = kept.iter().map(|&number| self.places[order[number as usize] as usize]).collect();
        let names = sorted.reordered(&kept);
        let mixed = splits::mixed_folders(&names, None).map(|note| format!("{}: {note}", path.display()));
        self.passed.notes.extend(mixed);
        Ok(Shard { path: path.into(), names, places, passed: self.passed })
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

impl Source for Shard {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    fn name(&self, index: usize) -> String {
        format!("{}: {}", self.path.display(), text(self.names.get(index)))
    }

    fn read(&self, index: usize) -> Result<Stored, String> {
        let (start, size) = self.places[index];
        match size > MAX_BYTES {
            true => Err(format!("the file has more than {} MiB", MAX_BYTES >> 20)),
            false => read_range(&self.path, start, size as usize).map(Stored::Encoded),
        }
    }

    fn labels(&self, column: Option<&str>) -> crate::error::Result<Labels> {
        labels::no_column(&self.place(), column)?;
        labels::tar::read(&self.path, self.len(), |index| self.names.get(index))
    }

    fn folder(&self, index: usize) -> Option<String> {
        let name = self.names.get(index);
        let folder = name.iter().position(|&byte| byte == b'/')?;
        Some(text(&name[..folder]))
    }

    fn identify(&self, index: usize, key: &mut Vec<u8>) {
        key.extend_from_slice(self.path.file_name().unwrap_or_default().as_encoded_bytes());
        key.push(b'/');
        key.extend_from_slice(self.names.get(index));
    }

    fn passed_over(&self) -> PassedOver {
        self.passed.clone()
    }

    fn locality(&self) -> Option<Locality> {
        let runs = (0..self.len()).step_by(RUN).map(|start| RUN.min(self.len() - start)).collect();
        let order = (!self.places.is_sorted()).then(|| {
            let mut order: Vec<u32> = (0..self.len() as u32).collect();
            order.sort_by_key(|&number| self.places[number as usize]);
            order
        });
        Some(Locality { runs, window: WINDOW, order })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Collection, open};
    use super::*;

    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/collections/images.tar")
    }

    #[test]
    fn the_images_of_an_archive_are_found_among_labels_and_captions() {
        let source = open(fixture().to_str().unwrap()).unwrap();
        assert_eq!(source.len(), 12);
        for index in 0..12 {
            let picture = source.load(index, 3).unwrap();
            assert_eq!((picture.height, picture.width), (16, 20 + index));
        }
        assert!(source.name(3).ends_with("images.tar: cats/00003.png"), "{}", source.name(3));
        assert!(source.name(4).ends_with("-long-long.jpg"), "{}", source.name(4));
        let labels = [0, 5, 6, 11].map(|index| source.folder(index).unwrap());
        assert_eq!(labels, ["cats", "cats", "dogs", "dogs"]);
    }

    #[test]
    fn shards_are_one_collection_named_by_braces_or_by_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..3 {
            std::fs::copy(fixture(), folder.path().join(format!("shard-{number:03}.tar"))).unwrap();
        }
        let root = folder.path().to_str().unwrap();
        for spec in [format!("{root}/shard-{{000..002}}.tar"), format!("{root}/*.tar"), root.to_owned()] {
            let source = open(&spec).unwrap();
            assert_eq!((source.len(), source.place()), (36, spec.clone()));
            assert!(source.name(25).ends_with("shard-002.tar: cats/00001.jpg"), "{}", source.name(25));
            assert_eq!(source.locality().unwrap().runs, [12, 12, 12]);
        }
        std::fs::remove_file(folder.path().join("shard-001.tar")).unwrap();
        let message = open(&format!("{root}/shard-{{000..002}}.tar")).err().unwrap().to_string();
        assert!(message.contains("shard-001.tar: No such file"), "{message}");
    }

    #[test]
    fn damaged_archives_and_those_without_images_are_named() {
        let file = tempfile::Builder::new().suffix(".tar").tempfile().unwrap();
        let refusal = |bytes: &[u8]| {
            std::fs::write(file.path(), bytes).unwrap();
            open(file.path().to_str().unwrap()).err().unwrap().to_string()
        };
        let bytes = std::fs::read(fixture()).unwrap();
        // In the middle of the first image.
        let cut = bytes.windows(2).position(|pair| pair == [0xFF, 0xD8]).unwrap() + 100;
        assert!(refusal(&bytes[..cut]).contains("cut short in cats/00000.jpg"));
        assert!(refusal(&[7; 2000]).contains("the archive is damaged"));
        assert!(refusal(&[0; 1024]).contains("nothing but zero bytes"));
        let empty = [&archive(&[".hidden.png"])[..], &[0; 1024]].concat();
        assert!(refusal(&empty).contains("holds no images") && refusal(&empty).contains("hidden 1"));
    }

    /// An archive of PNG files of different sizes under these names, or links where there is an arrow.
    fn archive(names: &[&str]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (number, name) in names.iter().enumerate() {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            if let Some((name, target)) = name.split_once(" -> ") {
                header.set_entry_type(if target.starts_with('.') {
                    tar::EntryType::Symlink
                } else {
                    tar::EntryType::Link
                });
                header.set_size(0);
                archive.append_link(&mut header, name, target).unwrap();
                continue;
            }
            let mut png = std::io::Cursor::new(Vec::new());
            image::RgbImage::new(number as u32 + 1, 1).write_to(&mut png, image::ImageFormat::Png).unwrap();
            header.set_size(png.get_ref().len() as u64);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, &png.get_ref()[..]).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn opened(bytes: &[u8]) -> (tempfile::NamedTempFile, Shard) {
        let file = tempfile::Builder::new().suffix(".tar").tempfile().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let shard = Shard::open(file.path()).unwrap();
        (file, shard)
    }

    fn names(shard: &Shard) -> Vec<String> {
        (0..shard.len()).map(|index| text(shard.names.get(index))).collect()
    }

    #[test]
    fn an_archive_of_a_tree_has_its_images_under_the_same_numbers() {
        let paths =
            ["b/2.png", "a.b/1.png", "b/.thumbs/2.png", "a/1.png", "a/1.seg.png", "a/._1.png", "c.jpg.1", "d", "e.txt"];
        let paths: Vec<String> =
            paths.iter().map(|path| format!("./{path}")).chain(["__MACOSX/a/._1.png".into()]).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let (file, shard) = opened(&archive(&paths));
        let folder = tempfile::tempdir().unwrap();
        tar::Archive::new(std::fs::File::open(file.path()).unwrap()).unpack(folder.path()).unwrap();
        let tree = open(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(names(&shard), ["a/1.png", "a.b/1.png", "b/2.png", "c.jpg.1", "d"]);
        assert_eq!((tree.len(), Collection::of(&*tree)), (5, Collection::of(&shard)));
        for index in 0..5 {
            assert_eq!(shard.load(index, 3).unwrap(), tree.load(index, 3).unwrap(), "{index}");
        }
        let (in_tar, in_tree) = (shard.passed_over(), tree.passed_over());
        assert_eq!((in_tar.hidden, in_tar.masks, in_tar.endings), (3, 1, in_tree.endings));
        // They lie in another order: b/2, a.b/1, a/1, c, d.
        assert_eq!(shard.locality().unwrap().order.unwrap(), [2, 1, 0, 3, 4]);
    }

    #[test]
    fn masks_of_a_segmentation_set_are_left_out() {
        let (_file, shard) = opened(&archive(&["0.jpg", "0.seg.png", "1.jpg", "1.seg.png", "2.seg.png"]));
        assert_eq!(
            (names(&shard), shard.passed_over().masks),
            (["0.jpg", "1.jpg", "2.seg.png"].map(Into::into).to_vec(), 2)
        );
        assert_eq!(shard.load(1, 3).unwrap().width, 3);
    }

    #[test]
    fn archives_joined_into_one_file_are_read_to_the_last() {
        let (first, second) = (archive(&["a.png", "b.png"]), archive(&["a.png", "c.png"]));
        let (_file, shard) = opened(&[&first[..], &[0; 5120], &second].concat());
        assert_eq!(names(&shard), ["a.png", "a.png", "b.png", "c.png"]);
        let notes = shard.passed_over().notes;
        assert!(notes.len() == 1 && notes[0].contains("1 images have the name of an earlier one"), "{notes:?}");
        // Something else behind the end is told and no mistake; before the end it is one.
        let (_file, shard) = opened(&[&first[..], &[7; 700]].concat());
        assert!(shard.len() == 2 && shard.passed_over().notes[0].contains("behind its end"));
        let end = first.len() - 1024;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [&first[..end], &[7; 700]].concat()).unwrap();
        assert!(Shard::open(file.path()).err().unwrap().contains("the archive is damaged"));
        // Without the mark at the end.
        let (_file, shard) = opened(&first[..end]);
        assert!(shard.len() == 2 && shard.passed_over().notes[0].contains("may be cut short"));
        std::fs::write(file.path(), &first[..end - 500]).unwrap();
        assert!(Shard::open(file.path()).err().unwrap().contains("cut short in b.png"));
        std::fs::write(file.path(), &first[..end - 600]).unwrap();
        assert!(Shard::open(file.path()).err().unwrap().contains("damaged or cut short"));
    }

    #[test]
    fn links_in_an_archive_are_images_too() {
        let paths = [
            "a/1.png",
            "a/2.png -> a/1.png",
            "b/3.png -> ../a/1.png",
            "c.png -> ../../etc/x.png",
            "d.png -> ./gone.png",
        ];
        let (_file, shard) = opened(&archive(&paths));
        assert_eq!(names(&shard), ["a/1.png", "a/2.png", "b/3.png"]);
        assert_eq!(shard.load(2, 3).unwrap(), shard.load(0, 3).unwrap());
        assert_eq!(shard.passed_over().links.len(), 2);
    }
}
