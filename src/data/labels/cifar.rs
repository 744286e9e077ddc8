//! The labels of CIFAR: bytes before the images in the binary layout, lists of numbers beside the PNG tables.

use std::ops::Range;
use std::path::Path;

use super::super::layout::CIFAR_NAMES;
use super::super::records::Records;
use super::{Labels, Numbered, listed, no_column, refuse};
use crate::error::Result;

/// The labels of a file in the binary layout: the byte before each image, or of CIFAR-100 the second of two, the first
/// with `column` `coarse`.
pub(in crate::data) fn binary(images: &Records, bytes: usize, column: Option<&str>) -> Result<Labels> {
    let folder = images.path().parent().unwrap_or(Path::new(""));
    let (at, count, file) = match (bytes, column) {
        (2, None | Some("fine")) => (1, 100, "fine_label_names.txt"),
        (2, Some("coarse")) => (0, 20, "coarse_label_names.txt"),
        _ => {
            no_column(&images.path().display().to_string(), column)?;
            (0, 10, "batches.meta.txt")
        }
    };
    let names_at = folder.join(file);
    let names = match listed::names(&names_at) {
        Ok(Some(names)) if names.len() != count => Err(format!("it names {} classes, not {count}", names.len())),
        Ok(None) if bytes == 1 => Ok(ten()),
        Ok(None) => Ok((0..count).map(|class| class.to_string()).collect()),
        Ok(Some(names)) => Ok(names),
        Err(reason) => Err(reason),
    };
    let names = names.map_err(|reason| refuse(&names_at.display().to_string(), &reason))?;
    let mut labels = Numbered::new(Some(names));
    let read = images.before_each(|index, bytes| {
        labels.push(Some(bytes[at].into())).map_err(|reason| format!("record {index}: {reason}"))
    });
    read.map_err(|reason| refuse(&images.path().display().to_string(), &reason))?;
    Ok(labels.finish())
}

/// The labels of the images `range` of `total`, which a file beside theirs lists.
pub(in crate::data) fn listed(
    images: &Records,
    file: &str,
    range: Range<usize>,
    total: usize,
    column: Option<&str>,
) -> Result<Labels> {
    no_column(&images.path().display().to_string(), column)?;
    let path = images.path().with_file_name(file);
    let labels = listed::numbers(&path, total, range, ten());
    let labels = labels.map_err(|reason| refuse(&path.display().to_string(), &reason))?;
    Ok(labels.unwrap_or_else(|| Labels::none(images.count())))
}

fn ten() -> Vec<String> {
    CIFAR_NAMES.map(str::to_owned).into()
}
