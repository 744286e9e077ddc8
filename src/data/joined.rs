//! Files that hold many images each, joined into one collection.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::parquet::Parquet;
use super::source::{Locality, Source, Stored};
use super::tar::Shard;
use super::{idx, npy};
use crate::error::{Error, Result};

/// What a file is, told by its first bytes.
enum Kind {
    Tar,
    Parquet,
    Idx,
    Npy,
}

/// Opens files as one collection. All must be of one kind.
pub(super) fn open(spec: &str, paths: &[PathBuf]) -> Result<Arc<dyn Source>> {
    let refuse = |path: &Path, reason: String| Error::Images(format!("{}: {reason}", path.display()));
    let mut parts: Vec<Box<dyn Source>> = Vec::new();
    let mut tables = Vec::new();
    for path in paths {
        let part: Box<dyn Source> = match look(path).map_err(|reason| refuse(path, reason))? {
            Kind::Parquet => {
                tables.push(path.clone());
                continue;
            }
            Kind::Tar => Box::new(Shard::open(path).map_err(|reason| refuse(path, reason))?),
            Kind::Idx => Box::new(idx::open(path).map_err(|reason| refuse(path, reason))?),
            Kind::Npy => Box::new(npy::open(path).map_err(|reason| refuse(path, reason))?),
        };
        parts.push(part);
    }
    if !tables.is_empty() && !parts.is_empty() {
        return Err(Error::Images(format!("{spec} names parquet files and others; give one kind")));
    }
    let joined: Arc<dyn Source> = match tables.is_empty() {
        true => Arc::new(Joined::new(spec, parts)),
        false => Arc::new(Parquet::open(spec, &tables)?),
    };
    match joined.is_empty() {
        true => Err(Error::Images(format!("{spec} holds no images; a tar archive needs entries named as image files"))),
        false => Ok(joined),
    }
}

/// Tells what a file is.
fn look(path: &Path) -> Result<Kind, String> {
    let found = std::fs::metadata(path).map_err(|error| format!("{error}; check the path of the images"))?;
    if !found.is_file() {
        return Err("not a file; give a folder alone, or files".into());
    }
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| format!("{error}; make it readable"))?;
    file.take(512).read_to_end(&mut start).map_err(|error| error.to_string())?;
    match start.as_slice() {
        [b'P', b'A', b'R', b'1', ..] => Ok(Kind::Parquet),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Ok(Kind::Npy),
        [0, 0, 8, 3 | 4, ..] => Ok(Kind::Idx),
        [0x1F, 0x8B, ..] if !is_gzipped_tar(path) => Ok(Kind::Idx),
        [0x1F, 0x8B, ..] => {
            Err("the archive is compressed; unpack it with gunzip, so that it can be read anywhere".into())
        }
        start if start.get(257..262) == Some(b"ustar") => Ok(Kind::Tar),
        // Tar archives older than 1988 carry no mark.
        _ if path.extension().is_some_and(|ending| ending == "tar") => Ok(Kind::Tar),
        _ => Err("neither a tar archive, a parquet file, nor an array of images (IDX or .npy); single images are \
                  given by their folder"
            .into()),
    }
}

fn is_gzipped_tar(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".tar.gz") || name.ends_with(".tgz")
}

/// Several collections, one after the other.
pub(super) struct Joined {
    place: String,
    parts: Vec<Box<dyn Source>>,
    /// The number of images up to the end of each part.
    ends: Vec<usize>,
}

impl Joined {
    pub(super) fn new(place: &str, parts: Vec<Box<dyn Source>>) -> Joined {
        let mut total = 0;
        let ends = parts.iter().map(|part| {
            total += part.len();
            total
        });
        Joined { place: place.into(), ends: ends.collect(), parts }
    }

    /// The part of an image, and its number there.
    fn locate(&self, index: usize) -> (&dyn Source, usize) {
        let part = self.ends.partition_point(|&end| end <= index);
        let start = part.checked_sub(1).map_or(0, |before| self.ends[before]);
        (self.parts[part].as_ref(), index - start)
    }
}

impl Source for Joined {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn name(&self, index: usize) -> String {
        let (part, index) = self.locate(index);
        part.name(index)
    }

    fn read(&self, index: usize) -> Result<Stored, String> {
        let (part, index) = self.locate(index);
        part.read(index)
    }

    fn label(&self, index: usize) -> Option<String> {
        let (part, index) = self.locate(index);
        part.label(index)
    }

    fn locality(&self) -> Option<Locality> {
        let parts: Option<Vec<Locality>> = self.parts.iter().map(|part| part.locality()).collect();
        let parts = parts?;
        let window = parts.iter().map(|part| part.window).min()?;
        Some(Locality { runs: parts.into_iter().flat_map(|part| part.runs).collect(), window })
    }
}
