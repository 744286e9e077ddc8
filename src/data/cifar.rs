//! CIFAR: the official binary layout of both sets, and CIFAR-10 as PNG files with an image per row. To train on are the
//! training images alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decode;
use super::joined::Joined;
use super::labels;
use super::layout::{CIFAR, CIFAR_CLASSES, Layout};
use super::records::{Records, read_range};
use super::source::Source;
use crate::error::{Error, Result};
use crate::text::shown_path;

/// Rows and columns of an image.
const SIDE: usize = CIFAR.height;

/// A layout of the files: the names of those with training images and with test images, and for each label byte before
/// an image the number of its classes.
#[derive(Clone, Copy)]
struct Kind {
    files: &'static [&'static str],
    test: &'static [&'static str],
    labels: &'static [u8],
}

/// The training and the test images.
type Sides = [Arc<dyn Source>; 2];

const TEN_BINARY: Kind = Kind {
    files: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    test: &["test_batch.bin"],
    labels: &[CIFAR_CLASSES],
};
const TEN_ROWS: Kind = Kind {
    files: &["data_batch_1.png", "data_batch_2.png", "data_batch_3.png", "data_batch_4.png", "data_batch_5.png"],
    test: &["test_batch.png"],
    labels: &[],
};
const HUNDRED: Kind = Kind { files: &["train.bin"], test: &["test.bin"], labels: &[20, 100] };

/// The lists of the labels of [`TEN_ROWS`], in the spelling of the package that has them, for training and test images.
const LISTS: [&str; 2] = ["train_lables.json", "test_lables.json"];

/// Opens CIFAR-10's five training files in `folder` or in the first folder below it that has them.
pub(super) fn open_10(folder: &Path) -> Result<Arc<dyn Source>> {
    match find(folder, &[TEN_BINARY, TEN_ROWS])? {
        Some((place, kind)) => open(&place, &kind, kind.files),
        None => Err(Error::Images(format!(
            "{} holds no CIFAR-10: neither data_batch_1.bin nor data_batch_1.png, in it or one folder below; \
             examples/fetch-cifar10.sh fetches it",
            shown_path(folder)
        ))),
    }
}

/// Opens CIFAR-100's training file in `folder` or in the first folder below it that has it.
pub(super) fn open_100(folder: &Path) -> Result<Arc<dyn Source>> {
    match find(folder, &[HUNDRED])? {
        Some((place, kind)) => open(&place, &kind, kind.files),
        None => Err(Error::Images(format!(
            "{} holds no CIFAR-100: no train.bin, in it or one folder below; fetch its binary version",
            shown_path(folder)
        ))),
    }
}

/// The set whose binary layout is in `folder` or one folder below, if any.
pub(super) fn recognise(folder: &Path) -> Result<Option<Arc<dyn Source>>> {
    find(folder, &[TEN_BINARY, HUNDRED])?.map(|(place, kind)| open(&place, &kind, kind.files)).transpose()
}

/// The training and test images of CIFAR-10 or CIFAR-100 (`which`), or where that is not said of the set whose binary
/// layout is there; none where the test images are missing.
pub(super) fn sides(folder: &Path, which: Option<u32>) -> Result<Option<Sides>> {
    let found = match which {
        Some(10) => find(folder, &[TEN_BINARY, TEN_ROWS])?,
        Some(_) => find(folder, &[HUNDRED])?,
        None => find(folder, &[TEN_BINARY, HUNDRED])?,
    };
    match found.filter(|(place, kind)| kind.test.iter().all(|file| place.join(file).is_file())) {
        Some((place, kind)) => Ok(Some([open(&place, &kind, kind.files)?, open(&place, &kind, kind.test)?])),
        None => Ok(None),
    }
}

/// The folder that has the first file of one of the layouts.
fn find<const N: usize>(folder: &Path, kinds: &[Kind; N]) -> Result<Option<(PathBuf, Kind)>> {
    let unreadable = |error| Error::Images(format!("{}: {error}; make the folder readable", shown_path(folder)));
    let mut places = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            places.push(path);
        }
    }
    places[1..].sort();
    for place in places {
        if let Some(&kind) = kinds.iter().find(|kind| place.join(kind.files[0]).is_file()) {
            return Ok(Some((place, kind)));
        }
    }
    Ok(None)
}

fn open(place: &Path, kind: &Kind, files: &[&str]) -> Result<Arc<dyn Source>> {
    let mut found = Vec::new();
    for file in files {
        let path = place.join(file);
        let records = if kind.labels.is_empty() { rows(&path) } else { binary(&path, kind.labels) };
        let refuse = |reason| Error::Images(format!("{}: {reason}; fetch CIFAR again", shown_path(&path)));
        found.push(records.map_err(refuse)?);
    }
    let total = found.iter().map(Records::count).sum();
    let (list, bytes) = (LISTS[usize::from(files == kind.test)], kind.labels.len());
    let (mut parts, mut first): (Vec<Box<dyn Source>>, _) = (Vec::new(), 0);
    for records in found {
        let range = first..first + records.count();
        first = range.end;
        parts.push(Box::new(records.labelled(move |records, column| match bytes {
            0 => labels::cifar::listed(records, list, range.clone(), total, column),
            bytes => labels::cifar::binary(records, bytes, column),
        })));
    }
    // What the parts of one set are called tells the sides apart.
    let place = if files == kind.test { place.join(files[0]) } else { place.to_owned() };
    Ok(Arc::new(Joined::new(&place.display().to_string(), parts)))
}

/// A file in the binary layout, which is read where it is.
fn binary(path: &Path, labels: &[u8]) -> Result<Records, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    let record = (labels.len() + CIFAR.values()) as u64;
    if length == 0 || !length.is_multiple_of(record) {
        return Err(format!("{length} bytes are no whole number of records of {record} bytes"));
    }
    // A file of another kind shows in its first and last record.
    for number in [0, length / record - 1] {
        let found = read_range(path, number * record, labels.len())?;
        if found.iter().zip(labels).any(|(label, classes)| label >= classes) {
            return Err(format!("record {number} has no label below {}", labels[labels.len() - 1]));
        }
    }
    Records::in_file(path, 0, length / record, labels.len(), CIFAR)
}

/// A PNG file whose rows of 1024 RGB pixels are the images, row by row. It is held in memory: 30 MB.
fn rows(path: &Path) -> Result<Records, String> {
    let rows = decode(path, 3)?;
    if rows.width != SIDE * SIDE {
        return Err(format!("a row has {} pixels, not {}", rows.width, SIDE * SIDE));
    }
    Records::in_memory(path, rows.pixels, 0, rows.height as u64, Layout { planar: false, ..CIFAR })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const VALUES: usize = 3 * SIDE * SIDE;
    const RECORD: usize = 1 + VALUES;

    /// The value of channel `c` at a pixel of an image.
    fn value(image: usize, row: usize, col: usize, c: usize) -> u8 {
        (image * 40 + row * 5 + col * 3 + c * 70) as u8
    }

    fn binary(images: std::ops::Range<usize>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for image in images {
            bytes.push((image % 10) as u8);
            bytes.extend((0..VALUES).map(|at| value(image, at / 32 % 32, at % 32, at / 1024)));
        }
        bytes
    }

    fn write_binary(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for number in 1..=5 {
            fs::write(folder.join(format!("data_batch_{number}.bin")), binary(number * 2 - 2..number * 2)).unwrap();
        }
    }

    fn write_rows(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for number in 1..=5u32 {
            let rows = image::RgbImage::from_fn(1024, 2, |at, row| {
                let (image, at) = ((number * 2 - 2 + row) as usize, at as usize);
                image::Rgb([0, 1, 2].map(|c| value(image, at / 32, at % 32, c)))
            });
            rows.save(folder.join(format!("data_batch_{number}.png"))).unwrap();
        }
    }

    #[test]
    fn both_layouts_give_the_same_images() {
        let (binary, rows) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_binary(&binary.path().join("cifar-10-batches-bin"));
        write_rows(rows.path());
        let by_look = super::super::open(binary.path().to_str().unwrap()).unwrap();
        let binary = open_10(binary.path()).unwrap();
        let rows = open_10(rows.path()).unwrap();
        assert_eq!((binary.len(), rows.len()), (10, 10));
        for image in 0..10 {
            let picture = binary.load(image, 3).unwrap();
            assert_eq!(picture, rows.load(image, 3).unwrap());
            assert_eq!(picture, by_look.load(image, 3).unwrap());
            for (row, col, c) in [(0, 0, 0), (0, 1, 2), (1, 0, 1), (31, 30, 2)] {
                assert_eq!(picture.pixels[(row * 32 + col) * 3 + c], value(image, row, col, c));
            }
        }
        assert!(binary.name(3).ends_with("data_batch_2.bin image 1"), "{}", binary.name(3));
        assert_eq!(rows.load(0, 1).unwrap().pixels.len(), 1024);
    }

    #[test]
    fn damaged_or_missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = |folder: &Path| open_10(folder).err().unwrap().to_string();
        assert!(message(folder.path()).contains("holds no CIFAR-10"));
        write_binary(folder.path());
        fs::write(folder.path().join("data_batch_4.bin"), vec![0; RECORD + 7]).unwrap();
        assert!(message(folder.path()).contains("data_batch_4.bin: 3080 bytes are no whole number of records"));
        fs::write(folder.path().join("data_batch_4.bin"), vec![200; RECORD]).unwrap();
        assert!(message(folder.path()).contains("record 0 has no label below 10"));
        fs::remove_file(folder.path().join("data_batch_4.bin")).unwrap();
        assert!(message(folder.path()).contains("data_batch_4.bin: No such file"));
    }

    #[test]
    fn a_picture_that_is_no_table_of_images_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_rows(folder.path());
        image::RgbImage::new(1000, 2).save(folder.path().join("data_batch_2.png")).unwrap();
        let message = open_10(folder.path()).err().unwrap().to_string();
        assert!(message.contains("data_batch_2.png: a row has 1000 pixels, not 1024"), "{message}");
    }

    #[test]
    fn the_hundred_classes_have_two_labels_before_each_image() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("cifar-100-binary");
        fs::create_dir(&place).unwrap();
        let records = |labels: [u8; 2]| {
            let mut bytes = Vec::new();
            for image in 0..3 {
                bytes.extend(labels);
                bytes.extend((0..VALUES).map(|at| value(image, at / 32 % 32, at % 32, at / 1024)));
            }
            bytes
        };
        fs::write(place.join("train.bin"), records([19, 99])).unwrap();
        for spec in ["cifar100:", ""] {
            let source = super::super::open(&format!("{spec}{}", folder.path().display())).unwrap();
            assert_eq!(source.len(), 3);
            let picture = source.load(2, 3).unwrap();
            assert_eq!(picture.pixels[(31 * 32 + 30) * 3 + 1], value(2, 31, 30, 1));
        }
        fs::write(place.join("train.bin"), records([20, 99])).unwrap();
        let message = open_100(folder.path()).err().unwrap().to_string();
        assert!(message.contains("train.bin: record 0 has no label"), "{message}");
        fs::remove_file(place.join("train.bin")).unwrap();
        assert!(open_100(folder.path()).err().unwrap().to_string().contains("holds no CIFAR-100"));
    }
}
