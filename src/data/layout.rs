//! How the values of an image of known size lie one after the other.

use super::Picture;
#[cfg(not(target_arch = "wasm32"))]
use super::decode::{MAX_BYTES, MAX_SIDE};

/// How one image lies in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    /// Whether all values of a channel lie together, `[channels, height, width]`.
    pub(super) planar: bool,
}

/// An image of CIFAR: all red, all green and all blue values.
pub(super) const CIFAR: Layout = Layout { height: 32, width: 32, channels: 3, planar: true };

/// The classes of CIFAR-10, whose records begin with one byte for it.
pub(super) const CIFAR_NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// How many these are.
pub(super) const CIFAR_CLASSES: u8 = CIFAR_NAMES.len() as u8;

impl Layout {
    /// The layout of an image of the given extents: `[rows, columns]`, with the channels (1 to 4) last, or first where
    /// only that is possible.
    #[cfg(not(target_arch = "wasm32"))]
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

    /// Appends what tells a record of this layout from others, see [`Source::identify`](super::Source::identify).
    pub(super) fn identify(&self, file: &[u8], index: usize, key: &mut Vec<u8>) {
        let &Layout { height, width, channels, .. } = self;
        key.extend_from_slice(file);
        key.extend(format!("/{index} {height}×{width}×{channels}").bytes());
    }

    /// Bytes of an image.
    pub(super) fn values(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The picture of an image's bytes, as many as [`Layout::values`].
    pub(super) fn picture(&self, values: &[u8]) -> Picture {
        let &Layout { height, width, channels, planar } = self;
        let pixels = match planar {
            true => (0..values.len()).map(|at| values[at % channels * height * width + at / channels]).collect(),
            false => values.to_vec(),
        };
        Picture { height, width, channels, pixels }
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
