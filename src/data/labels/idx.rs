//! MNIST's labels: `*-labels-idx1-ubyte` beside `*-images-idx3-ubyte`, compressed or not.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::super::records::Records;
use super::listed::small_file;
use super::{Labels, Numbered, no_column, refuse};
use crate::error::Result;

/// Bytes before the labels: the magic and the count.
const START: usize = 8;

/// The labels of a file of images, if there are any beside it.
pub(in crate::data) fn read(images: &Records, column: Option<&str>) -> Result<Labels> {
    no_column(&images.path().display().to_string(), column)?;
    for path in beside(images.path()) {
        let found = labels(&path, images.count());
        if let Some(labels) = found.map_err(|reason| refuse(&path.display().to_string(), &reason))? {
            return Ok(labels);
        }
    }
    Ok(Labels::none(images.count()))
}

/// Where the labels of a file of images may be, compressed as it is or otherwise.
fn beside(images: &Path) -> Vec<PathBuf> {
    let Some(name) = images.file_name().and_then(|name| name.to_str()).filter(|name| name.contains("images")) else {
        return Vec::new();
    };
    let name = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1");
    let other = name.strip_suffix(".gz").map_or_else(|| format!("{name}.gz"), str::to_owned);
    [name, other].map(|name| images.with_file_name(name)).into()
}

fn labels(path: &Path, count: usize) -> std::result::Result<Option<Labels>, String> {
    let length = START + count;
    // Compressed, it is hardly longer than unpacked; one with another number of labels is told so below.
    let Some(mut bytes) = small_file(path, (4 * length + 4096) as u64)? else { return Ok(None) };
    if bytes.starts_with(&[0x1F, 0x8B]) {
        let mut unpacked = Vec::new();
        let read = MultiGzDecoder::new(&bytes[..]).take(length as u64 + 1).read_to_end(&mut unpacked);
        read.map_err(|error| format!("the compressed file is damaged: {error}; fetch it again"))?;
        bytes = unpacked;
    }
    let [0, 0, 8, 1, a, b, c, d, values @ ..] = &bytes[..] else {
        return Err("it is no IDX file of one dimension of bytes, as labels are".into());
    };
    let told = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    if told != count {
        return Err(format!("it has {told} labels for {count} images; are both of one set?"));
    }
    if values.len() != count {
        return Err(format!("it is cut short or too long for its {count} labels; fetch it again"));
    }
    let mut labels = Numbered::new(None);
    values.iter().try_for_each(|&label| labels.push(Some(label.into())))?;
    Ok(Some(labels.finish()))
}
