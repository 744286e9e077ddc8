//! Labels in a `.npy` file of integers beside one of images.

use std::path::{Path, PathBuf};

use super::super::npy::{header, read_start, value};
use super::super::records::{Records, read_range};
use super::{Labels, Numbered, no_column, refuse, whole};
use crate::error::Result;

/// How many labels are read at a time.
const PIECE: usize = 1 << 16;

/// The labels of a file of images, if there are any beside it.
pub(in crate::data) fn read(images: &Records, column: Option<&str>) -> Result<Labels> {
    no_column(&images.path().display().to_string(), column)?;
    match beside(images.path()).into_iter().find(|path| path.is_file()) {
        None => Ok(Labels::none(images.count())),
        Some(path) => labels(&path, images.count()).map_err(|reason| refuse(&path.display().to_string(), &reason)),
    }
}

/// Where the labels of a file of images may be: those named for it first.
fn beside(images: &Path) -> [PathBuf; 3] {
    let mut own = images.file_stem().unwrap_or_default().to_owned();
    own.push("_labels.npy");
    [own.as_os_str(), "labels.npy".as_ref(), "y.npy".as_ref()].map(|name| images.with_file_name(name))
}

fn labels(path: &Path, count: usize) -> std::result::Result<Labels, String> {
    let start = read_start(path)?;
    let (offset, text) = header(&start)?;
    let (shape, kind) = (value(text, "shape")?, value(text, "descr")?.trim_matches(['\'', '"']));
    let inside = shape.trim_matches(['(', ')']).trim().trim_end_matches(',');
    match inside.parse::<u64>() {
        Ok(found) if found == count as u64 => {}
        Ok(found) => return Err(format!("it has {found} labels for {count} images")),
        Err(_) => return Err(format!("an array of shape {shape} holds no labels; they need the shape ({count},)")),
    }
    let (order, kind) = kind.split_at_checked(1).unwrap_or_default();
    let size = match kind {
        "i1" | "u1" => 1,
        "i2" | "u2" => 2,
        "i4" | "u4" => 4,
        "i8" | "u8" => 8,
        _ => return Err(format!("its labels are of type {order}{kind}; save whole numbers, as int64")),
    };
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length != offset + (count * size) as u64 {
        return Err(format!("{length} bytes are not the {count} labels that its header names; write it again"));
    }
    let mut labels = Numbered::new(None);
    for first in (0..count).step_by(PIECE) {
        let piece = PIECE.min(count - first);
        let bytes = read_range(path, offset + (first * size) as u64, piece * size)?;
        for (number, bytes) in (first..).zip(bytes.chunks_exact(size)) {
            let label = whole(bytes, order == ">", kind.starts_with('i'));
            labels.push(Some(label)).map_err(|reason| format!("number {number}: {reason}"))?;
        }
    }
    Ok(labels.finish())
}
