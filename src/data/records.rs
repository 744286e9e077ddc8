//! Images of one size, one after the other in a file or in memory.

use std::path::{Path, PathBuf};

use super::Picture;
use super::decode::{MAX_BYTES, MAX_SIDE};
use super::joined::read_range;
use super::source::{Source, Stored};

/// How one image lies in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    /// Whether all values of a channel lie together, `[channels, height, width]`.
    pub(super) planar: bool,
}

impl Layout {
    /// The layout of an image of the given extents: `[rows, columns]`, with the channels (1 to 4) last, or first where
    /// only that is possible.
    pub(super) fn of(extents: &[u64]) -> Result<Layout, String> {
        let side = |n: u64| usize::try_from(n).ok().filter(|n| (1..=MAX_SIDE as usize).contains(n));
        let few = |n: u64| usize::try_from(n).ok().filter(|n| (1..=4).contains(n));
        let found = match *extents {
            [rows, cols] => Some((Some(1), rows, cols, false)),
            [rows, cols, channels] if few(channels).is_some() => Some((few(channels), rows, cols, false)),
            [channels, rows, cols] => Some((few(channels), rows, cols, true)),
            _ => None,
        };
        let layout = found.and_then(|(channels, rows, cols, planar)| {
            Some(Layout { height: side(rows)?, width: side(cols)?, channels: channels?, planar })
        });
        match layout {
            Some(layout) if (layout.height * layout.width * 4) as u64 <= MAX_BYTES => Ok(layout),
            _ => Err(format!(
                "an image of {extents:?} values is none: rows and columns of 1 to {MAX_SIDE} and no or 1 to 4 channels, \
                 of at most {} MiB",
                MAX_BYTES >> 20
            )),
        }
    }

    /// Bytes of an image.
    pub(super) fn values(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The picture of an image's bytes, as many as [`Layout::values`].
    fn picture(&self, values: &[u8]) -> Picture {
        let &Layout { height, width, channels, planar } = self;
        let pixels = match planar {
            true => (0..values.len()).map(|at| values[at % channels * height * width + at / channels]).collect(),
            false => values.to_vec(),
        };
        Picture { height, width, channels, pixels }
    }
}

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
}

impl Records {
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
        Ok(Records { path: path.into(), place: Place::File(offset), count, skip, layout })
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
        Ok(Records { path: path.into(), place: Place::Memory(bytes), count, skip: 0, layout })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_lie_last_or_first() {
        let layout = |height, width, channels, planar| Ok(Layout { height, width, channels, planar });
        assert_eq!(Layout::of(&[28, 20]), layout(28, 20, 1, false));
        assert_eq!(Layout::of(&[28, 20, 3]), layout(28, 20, 3, false));
        assert_eq!(Layout::of(&[3, 28, 20]), layout(28, 20, 3, true));
        assert_eq!(Layout::of(&[2, 3, 4]), layout(2, 3, 4, false));
        for wrong in [&[0, 5][..], &[5], &[7, 8, 9], &[20_000, 4], &[16_384, 16_384], &[u64::MAX, u64::MAX, 3]] {
            assert!(Layout::of(wrong).is_err(), "{wrong:?}");
        }
        let planar = Layout { height: 1, width: 2, channels: 3, planar: true };
        assert_eq!(planar.picture(&[1, 2, 3, 4, 5, 6]).pixels, [1, 3, 5, 2, 4, 6]);
    }
}
