//! Parquet files with a column of encoded images, as Hugging Face lays data sets out: a struct `image` with the field
//! `bytes`, or a column of binary values.
//!
//! Only what such files need is read: a column of byte strings that are not repeated, and where labels are asked for one
//! of numbers or texts, their pages plain or with a dictionary, uncompressed or packed with Snappy or gzip. The index of a file is its list of row groups; a page is
//! unpacked when one of its images is wanted and kept for its neighbours. Lengths in a file are compared with the file
//! before anything of that size is allocated.

mod cache;
mod footer;
mod labels;
mod pages;
mod thrift;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use self::cache::Cache;
use self::footer::Chunk;
use self::pages::{Page, PagePlace};
use super::labels::{Joining, Labels, refuse};
use super::passed::PassedOver;
use super::source::{Locality, Source, Stored};
use crate::error::{Error, Result};
use crate::text::{shown, shown_path};

/// Images that are shuffled together: few, so that the pages they lie in stay unpacked.
const WINDOW: usize = 2048;

/// The images in the rows of parquet files.
pub(super) struct Parquet {
    place: String,
    paths: Vec<PathBuf>,
    groups: Vec<Group>,
    cache: Cache,
    passed: PassedOver,
}

/// A row group's part of the column.
struct Group {
    file: usize,
    /// The group's first row in its file.
    first_row: usize,
    /// The number of images up to the end of this group.
    end: usize,
    chunk: Chunk,
    /// Where its pages are, once one was wanted.
    pages: OnceLock<Result<Vec<PagePlace>, String>>,
}

impl Parquet {
    /// Reads the lists of row groups of files. `passed` is what was passed over beside them.
    pub(super) fn open(place: &str, paths: &[PathBuf], passed: PassedOver) -> Result<Parquet> {
        let (mut groups, mut end) = (Vec::new(), 0);
        for (file, path) in paths.iter().enumerate() {
            let refuse = |reason: String| Error::Images(format!("{}: {}", shown_path(path), shown(&reason)));
            let mut first_row = 0;
            for chunk in footer::read(path).map_err(refuse)? {
                let rows = chunk.rows;
                end += rows;
                groups.push(Group { file, first_row, end, chunk, pages: OnceLock::new() });
                first_row += rows;
            }
        }
        Ok(Parquet { place: place.into(), paths: paths.to_vec(), groups, cache: Cache::default(), passed })
    }

    /// The number of the group that holds an image, and the image's row in it.
    fn locate(&self, index: usize) -> (usize, usize) {
        let group = self.groups.partition_point(|group| group.end <= index);
        (group, index - (self.groups[group].end - self.groups[group].chunk.rows))
    }

    /// The unpacked page that holds a row of a group, and the row's number in it.
    fn page(&self, number: usize, row: usize) -> Result<(Arc<Page>, usize), String> {
        let group = &self.groups[number];
        let (path, chunk) = (self.path(group), &group.chunk);
        let places = group.pages.get_or_init(|| pages::list(path, chunk)).as_ref().map_err(Clone::clone)?;
        let at = places.partition_point(|place| place.end <= row);
        let place = places.get(at).ok_or("its row group holds fewer rows than the file's index says")?;
        let dictionary = match places.first() {
            Some(first) if first.is_dictionary() && at > 0 => {
                Some(self.cache.get((number, 0), || pages::unpack(path, chunk, first, None))?)
            }
            _ => None,
        };
        let page = self.cache.get((number, at), || pages::unpack(path, chunk, place, dictionary.as_deref()))?;
        Ok((page, row - (place.end - place.rows)))
    }

    fn path(&self, group: &Group) -> &Path {
        &self.paths[group.file]
    }
}

impl Source for Parquet {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn len(&self) -> usize {
        self.groups.last().map_or(0, |group| group.end)
    }

    fn name(&self, index: usize) -> String {
        let (group, row) = self.locate(index);
        let group = &self.groups[group];
        format!("{} row {}", self.path(group).display(), group.first_row + row)
    }

    fn read(&self, index: usize) -> Result<Stored, String> {
        let (group, row) = self.locate(index);
        let (page, row) = self.page(group, row)?;
        page.value(row).map(|bytes| Stored::Encoded(bytes.to_vec())).ok_or_else(|| "the row holds no image".into())
    }

    fn labels(&self, column: Option<&str>) -> Result<Labels> {
        let mut all = Joining::default();
        for (file, path) in self.paths.iter().enumerate() {
            let groups = self.groups.iter().filter(|group| group.file == file);
            let rows = groups.map(|group| group.chunk.rows).sum();
            let place = path.display().to_string();
            let added = labels::read(path, rows, column).and_then(|labels| all.add(&place, labels));
            added.map_err(|reason| refuse(&place, &reason))?;
        }
        Ok(all.finish())
    }

    fn identify(&self, index: usize, key: &mut Vec<u8>) {
        let (group, row) = self.locate(index);
        let group = &self.groups[group];
        key.extend_from_slice(self.path(group).file_name().unwrap_or_default().as_encoded_bytes());
        // The row group's length tells other contents from these, mostly.
        key.extend(format!("/{} {}", group.first_row + row, group.chunk.end - group.chunk.start).bytes());
    }

    fn passed_over(&self) -> PassedOver {
        self.passed.clone()
    }

    fn locality(&self) -> Option<Locality> {
        let runs = self.groups.iter().map(|group| group.chunk.rows).collect();
        Some(Locality { runs, window: WINDOW, order: None })
    }
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use std::path::Path;

    fn fixture(name: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/collections");
        folder.join(name).to_str().unwrap().to_owned()
    }

    /// `plain.parquet` holds the images of `images.tar` in the same order; the others hold them in other forms.
    #[test]
    fn every_layout_gives_the_same_images() {
        let expected = open(&fixture("images.tar")).unwrap();
        for name in ["plain", "snappy", "gzip", "binary", "nulls", "pages_v2", "dictionary"] {
            let source = open(&fixture(&format!("{name}.parquet"))).unwrap();
            let nulls = usize::from(name == "nulls");
            assert_eq!(source.len(), expected.len() + nulls, "{name}");
            for index in 0..expected.len() {
                let picture = source.load(index + nulls, 3).unwrap_or_else(|reason| panic!("{name} {index}: {reason}"));
                assert_eq!(picture, expected.load(index, 3).unwrap(), "{name} {index}");
            }
            assert!(source.name(1).ends_with(&format!("{name}.parquet row 1")), "{}", source.name(1));
        }
        let nulls = open(&fixture("nulls.parquet")).unwrap();
        assert_eq!(nulls.load(0, 3).unwrap_err(), "the row holds no image");
    }

    #[test]
    fn several_files_are_one_collection() {
        let two = open(&fixture("{plain,snappy}.parquet")).unwrap();
        let one = open(&fixture("plain.parquet")).unwrap();
        assert_eq!(two.len(), 2 * one.len());
        assert_eq!(two.load(one.len() + 2, 3).unwrap(), one.load(2, 3).unwrap());
        assert!(two.name(one.len() + 2).ends_with("snappy.parquet row 2"), "{}", two.name(one.len() + 2));
        assert_eq!(two.locality().unwrap().runs.iter().sum::<usize>(), two.len());
    }

    #[test]
    fn files_without_a_column_of_images_are_refused() {
        for (name, reason) in [
            ("numbers.parquet", "no column of images"),
            ("two_columns.parquet", "several columns of bytes: left, right"),
            ("zstd.parquet", "packed with zstd; write it with Snappy"),
        ] {
            let message = match open(&fixture(name)) {
                Ok(source) => source.load(0, 3).unwrap_err(),
                Err(error) => error.to_string(),
            };
            assert!(message.contains(reason), "{name}: {message}");
        }
    }
}
