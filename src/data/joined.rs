//! Files that hold many images each, joined into one collection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::labels::{self, Joining, Labels};
use super::look::{Kind, look};
use super::parquet::Parquet;
use super::passed::PassedOver;
use super::source::{Locality, Source, Stored};
use super::tar::Shard;
use super::{idx, npy};
use crate::error::{Error, Result};
use crate::text::{shown, shown_path};

/// Opens files as one collection. All must be of one kind. `passed` is what was passed over beside them.
pub(super) fn open(spec: &str, paths: &[PathBuf], mut passed: PassedOver) -> Result<Arc<dyn Source>> {
    let refuse = |path: &Path, reason: String| Error::Images(format!("{}: {}", shown_path(path), shown(&reason)));
    let mut parts: Vec<Box<dyn Source>> = Vec::new();
    let mut tables = Vec::new();
    for path in paths {
        let part: Box<dyn Source> = match look(path).map_err(|reason| refuse(path, reason))? {
            Kind::Parquet => {
                tables.push(path.clone());
                continue;
            }
            Kind::Tar => Box::new(Shard::open(path).map_err(|reason| refuse(path, reason))?),
            Kind::Idx => Box::new(idx::open(path).map_err(|reason| refuse(path, reason))?.labelled(labels::idx::read)),
            Kind::Npy => Box::new(npy::open(path).map_err(|reason| refuse(path, reason))?.labelled(labels::npy::read)),
        };
        parts.push(part);
    }
    let place = shown(spec);
    if !tables.is_empty() && !parts.is_empty() {
        return Err(Error::Images(format!("{place} names parquet files and others; give one kind")));
    }
    parts.iter().for_each(|part| passed.add(part.passed_over()));
    let but: String = passed.lines().iter().map(|line| format!(". {line}")).collect();
    let joined: Arc<dyn Source> = match tables.is_empty() {
        true => Arc::new(Joined { passed, ..Joined::new(spec, parts) }),
        false => Arc::new(Parquet::open(spec, &tables, passed)?),
    };
    match joined.is_empty() {
        true => Err(Error::Images(format!(
            "{place} holds no images; a tar archive needs entries named as image files{but}"
        ))),
        false => Ok(joined),
    }
}

/// Several collections, one after the other.
pub(super) struct Joined {
    place: String,
    parts: Vec<Box<dyn Source>>,
    /// The number of images up to the end of each part.
    ends: Vec<usize>,
    /// What was passed over, in the parts too.
    passed: PassedOver,
}

impl Joined {
    pub(super) fn new(place: &str, parts: Vec<Box<dyn Source>>) -> Joined {
        let mut total = 0;
        let ends = parts.iter().map(|part| {
            total += part.len();
            total
        });
        Joined { place: place.into(), ends: ends.collect(), parts, passed: PassedOver::default() }
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

    fn labels(&self, column: Option<&str>) -> Result<Labels> {
        let mut all = Joining::default();
        for part in &self.parts {
            let place = part.place();
            all.add(&place, part.labels(column)?).map_err(|reason| labels::refuse(&place, &reason))?;
        }
        Ok(all.finish())
    }

    fn folder(&self, index: usize) -> Option<String> {
        let (part, index) = self.locate(index);
        part.folder(index)
    }

    fn identify(&self, index: usize, key: &mut Vec<u8>) {
        let (part, index) = self.locate(index);
        part.identify(index, key);
    }

    fn passed_over(&self) -> PassedOver {
        self.passed.clone()
    }

    fn locality(&self) -> Option<Locality> {
        let parts: Option<Vec<Locality>> = self.parts.iter().map(|part| part.locality()).collect();
        let parts = parts?;
        let window = parts.iter().map(|part| part.window).min()?;
        let mut order = None;
        if parts.iter().any(|part| part.order.is_some()) {
            let (mut all, mut start) = (Vec::new(), 0);
            for (part, &end) in parts.iter().zip(&self.ends) {
                match &part.order {
                    Some(order) => all.extend(order.iter().map(|number| start + number)),
                    None => all.extend(start..end as u32),
                }
                start = end as u32;
            }
            order = Some(all);
        }
        Some(Locality { runs: parts.into_iter().flat_map(|part| part.runs).collect(), window, order })
    }
}
