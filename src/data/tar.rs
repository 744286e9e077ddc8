//! Tar archives of images, as WebDataset lays them out. An archive is listed once, never unpacked; an image is then
//! read from its place in it.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use tar::Archive;

use super::decode::MAX_BYTES;
use super::folder::is_image;
use super::names::Names;
use super::records::read_range;
use super::source::{Locality, Source, Stored};

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
}

impl Shard {
    /// Lists an archive. Entries that are no image files (labels, captions, folders, links) are passed over.
    pub(super) fn open(path: &Path) -> Result<Shard, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        let mut archive = Archive::new(BufReader::new(file));
        let mut shard = Shard { path: path.into(), names: Names::default(), places: Vec::new() };
        let damaged = |error: std::io::Error| format!("the archive is damaged: {error}; write or fetch it again");
        for entry in archive.entries_with_seek().map_err(damaged)? {
            let entry = entry.map_err(damaged)?;
            let (start, size) = (entry.raw_file_position(), entry.size());
            let name = entry.path_bytes();
            let file_name = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            if !entry.header().entry_type().is_file() || file_name.starts_with(b".") || !is_image(file_name) {
                continue;
            }
            if start.checked_add(size).is_none_or(|end| end > length) {
                return Err(format!("the archive is cut short in {}; write or fetch it again", text(&name)));
            }
            shard.names.push(&name);
            shard.places.push((start, size));
        }
        Ok(shard)
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

    fn label(&self, index: usize) -> Option<String> {
        let name = self.names.get(index);
        let name = name.strip_prefix(b"./").unwrap_or(name);
        let folder = name.iter().position(|&byte| byte == b'/')?;
        Some(text(&name[..folder]))
    }

    fn locality(&self) -> Option<Locality> {
        let runs = (0..self.len()).step_by(RUN).map(|start| RUN.min(self.len() - start)).collect();
        Some(Locality { runs, window: WINDOW })
    }
}

#[cfg(test)]
mod tests {
    use super::super::open;
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
        let labels = [0, 5, 6, 11].map(|index| source.label(index).unwrap());
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
        assert!(refusal(&[0; 1024]).contains("holds no images"));
    }
}
