//! Images of one size, one after the other in a file or in memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::labels::Labels;
use super::layout::Layout;
use super::source::{Source, Stored};
use crate::error::Result as Checked;

/// What reads the labels of a file's images; it is given the name of the labels meant, if there is one.
type LabelReader = Box<dyn Fn(&Records, Option<&str>) -> Checked<Labels> + Send + Sync>;

/// Where the records are.
enum Place {
    /// In a file, from an offset on.
    File(u64),
    Memory(Vec<u8>),
}

/// A file of images of one size.
pub(super) struct Records {
    path: PathBuf,
    place: Place,
    count: usize,
    /// Bytes before the pixels of each record, such as a label.
    skip: usize,
    layout: Layout,
    labels: Option<LabelReader>,
}

impl Records {
    /// The same images with labels, which `reader` reads when they are asked for.
    pub(super) fn labelled(
        self,
        reader: impl Fn(&Records, Option<&str>) -> Checked<Labels> + Send + Sync + 'static,
    ) -> Records {
        Records { labels: Some(Box::new(reader)), ..self }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many images there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Reads the bytes before the pixels of each record, in order, and gives them to `take` with the record's number.
    pub(super) fn before_each(&self, mut take: impl FnMut(usize, &[u8]) -> Result<(), String>) -> Result<(), String> {
        let Place::File(offset) = self.place else { return Ok(()) };
        let (size, mut bytes) = ((self.skip + self.layout.values()) as u64, vec![0; self.skip]);
        let mut file = File::open(&self.path).map_err(|error| error.to_string())?;
        for index in 0..self.count {
            let read = file.seek(SeekFrom::Start(offset + index as u64 * size));
            read.and_then(|_| file.read_exact(&mut bytes)).map_err(|error| error.to_string())?;
            take(index, &bytes)?;
        }
        Ok(())
    }

    /// The `count` records of a file from byte `offset` to its end.
    pub(super) fn in_file(
        path: &Path,
        offset: u64,
        count: u64,
        skip: usize,
        layout: Layout,
    ) -> Result<Records, String> {
        let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
        let count = whole(count, offset, length, skip, layout)?;
        Ok(Records { path: path.into(), place: Place::File(offset), count, skip, layout, labels: None })
    }

    /// The `count` records that follow `offset` bytes in memory, to the end.
    pub(super) fn in_memory(
        path: &Path,
        mut bytes: Vec<u8>,
        offset: u64,
        count: u64,
        layout: Layout,
    ) -> Result<Records, String> {
        let count = whole(count, offset, bytes.len() as u64, 0, layout)?;
        bytes.drain(..offset as usize);
        Ok(Records { path: path.into(), place: Place::Memory(bytes), count, skip: 0, layout, labels: None })
    }
}

/// The number of records, if they fill exactly what comes after `offset`.
fn whole(count: u64, offset: u64, length: u64, skip: usize, layout: Layout) -> Result<usize, String> {
    let needed = count.checked_mul((skip + layout.values()) as u64).and_then(|bytes| bytes.checked_add(offset));
    match (needed == Some(length), usize::try_from(count)) {
        (true, Ok(count)) => Ok(count),
        _ => {
            let Layout { height, width, channels, .. } = layout;
            let shape = format!("{count} images of {height}×{width}×{channels}");
            Err(format!("{length} bytes are not the {shape} that its header names; write or fetch it again"))
        }
    }
}

impl Source for Records {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn len(&self) -> usize {
        self.count
    }

    fn name(&self, index: usize) -> String {
        format!("{} image {index}", self.path.display())
    }

    fn labels(&self, column: Option<&str>) -> Checked<Labels> {
        match &self.labels {
            Some(read) => read(self, column),
            None => Ok(Labels::none(self.count)),
        }
    }

    fn identify(&self, index: usize, key: &mut Vec<u8>) {
        let name = self.path.file_name().unwrap_or_default();
        self.layout.identify(name.as_encoded_bytes(), index, key);
    }

    fn read(&self, index: usize) -> Result<Stored, String> {
        let size = self.skip + self.layout.values();
        let picture = match &self.place {
            Place::Memory(bytes) => self.layout.picture(&bytes[index * size..][self.skip..size]),
            Place::File(offset) => {
                let record = read_range(&self.path, offset + index as u64 * size as u64, size)?;
                self.layout.picture(&record[self.skip..])
            }
        };
        Ok(Stored::Pixels(picture))
    }
}

/// Reads a part of a file. It is opened each time, so that thousands of shards need no open files.
pub(super) fn read_range(path: &Path, offset: u64, len: usize) -> Result<Vec<u8>, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    file.seek(SeekFrom::Start(offset)).map_err(|error| error.to_string())?;
    let mut bytes = Vec::with_capacity(len);
    file.take(len as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() == len {
        true => Ok(bytes),
        false => Err(format!("the file ends {} bytes early", len - bytes.len())),
    }
}
