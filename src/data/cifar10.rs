//! CIFAR-10's training images in the two layouts that people have on disk.

use std::path::{Path, PathBuf};
use std::thread;

use super::source::Source;
use super::{Picture, decode};
use crate::error::{Error, Result};

/// Rows and columns of an image.
const SIDE: usize = 32;

/// Values of an image.
const VALUES: usize = 3 * SIDE * SIDE;

/// Bytes of an image in the binary layout: a label, then all red, all green and all blue values.
const RECORD: usize = 1 + VALUES;

/// The five training files, held in memory (150 MB for the whole set).
pub(super) struct Cifar10 {
    files: Vec<Training>,
    channels: usize,
}

/// The images of one file: `[images, 32, 32, 3]` or, if `planar`, `[images, 3, 32, 32]`.
struct Training {
    name: String,
    planar: bool,
    values: Vec<u8>,
}

impl Cifar10 {
    /// Reads the five files in `folder` or in the first folder below it that has them.
    pub(super) fn open(folder: &Path, channels: usize) -> Result<Cifar10> {
        let (place, ending) = find(folder)?;
        let read = |number: usize| {
            let path = place.join(format!("data_batch_{number}.{ending}"));
            let values = if ending == "bin" { read_binary(&path) } else { read_rows(&path) };
            let refuse = |reason| Error::Images(format!("{}: {reason}; fetch CIFAR-10 again", path.display()));
            Ok(Training { name: path.display().to_string(), planar: ending == "bin", values: values.map_err(refuse)? })
        };
        let files: Result<Vec<Training>> = thread::scope(|scope| {
            let running: Vec<_> = (1..=5).map(|number| scope.spawn(move || read(number))).collect();
            running.into_iter().map(|thread| thread.join().expect("reading a file does not panic")).collect()
        });
        Ok(Cifar10 { files: files?, channels })
    }

    /// The file of an image and its number in it.
    fn locate(&self, index: usize) -> (&Training, usize) {
        let mut image = index;
        for file in &self.files {
            let images = file.values.len() / VALUES;
            if image < images {
                return (file, image);
            }
            image -= images;
        }
        panic!("CIFAR-10: no image {index} of {}", self.len());
    }
}

impl Source for Cifar10 {
    fn len(&self) -> usize {
        self.files.iter().map(|file| file.values.len() / VALUES).sum()
    }

    fn name(&self, index: usize) -> String {
        let (file, image) = self.locate(index);
        format!("{} image {image}", file.name)
    }

    fn load(&self, index: usize) -> Result<Picture, String> {
        let (file, image) = self.locate(index);
        let values = &file.values[image * VALUES..][..VALUES];
        let pixels = match file.planar {
            true => (0..VALUES).map(|at| values[at % 3 * SIDE * SIDE + at / 3]).collect(),
            false => values.to_vec(),
        };
        Ok(Picture { height: SIDE, width: SIDE, channels: 3, pixels }.with_channels(self.channels))
    }
}

/// The folder that has the first training file, and that file's ending.
fn find(folder: &Path) -> Result<(PathBuf, &'static str)> {
    let unreadable = |error| Error::Images(format!("{}: {error}; make the folder readable", folder.display()));
    let mut places = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            places.push(path);
        }
    }
    places[1..].sort();
    for place in places {
        for ending in ["bin", "png"] {
            if place.join(format!("data_batch_1.{ending}")).is_file() {
                return Ok((place, ending));
            }
        }
    }
    Err(Error::Images(format!(
        "{} holds no CIFAR-10: neither data_batch_1.bin nor data_batch_1.png, in it or one folder below; \
         examples/fetch-cifar10.sh fetches it",
        folder.display()
    )))
}

/// The images of a file in the binary layout, without their labels.
fn read_binary(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if bytes.is_empty() || bytes.len() % RECORD != 0 {
        return Err(format!("{} bytes are no whole number of records of {RECORD} bytes", bytes.len()));
    }
    if let Some(record) = bytes.chunks_exact(RECORD).position(|record| record[0] > 9) {
        return Err(format!("record {record} has no label of 0 to 9"));
    }
    Ok(bytes.chunks_exact(RECORD).flat_map(|record| &record[1..]).copied().collect())
}

/// The images of a PNG file whose rows of 1024 RGB pixels are the images, row by row.
fn read_rows(path: &Path) -> Result<Vec<u8>, String> {
    let rows = decode(path, 3)?;
    if rows.width != SIDE * SIDE {
        return Err(format!("a row has {} pixels, not {}", rows.width, SIDE * SIDE));
    }
    Ok(rows.pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
        let binary = Cifar10::open(binary.path(), 3).unwrap();
        let rows = Cifar10::open(rows.path(), 3).unwrap();
        assert_eq!((binary.len(), rows.len()), (10, 10));
        for image in 0..10 {
            let picture = binary.load(image).unwrap();
            assert_eq!(picture, rows.load(image).unwrap());
            for (row, col, c) in [(0, 0, 0), (0, 1, 2), (1, 0, 1), (31, 30, 2)] {
                assert_eq!(picture.pixels[(row * 32 + col) * 3 + c], value(image, row, col, c));
            }
        }
        assert!(binary.name(3).ends_with("data_batch_2.bin image 1"), "{}", binary.name(3));
        assert_eq!(Cifar10 { channels: 1, ..rows }.load(0).unwrap().pixels.len(), 1024);
    }

    #[test]
    fn damaged_or_missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = |folder: &Path| Cifar10::open(folder, 3).err().unwrap().to_string();
        assert!(message(folder.path()).contains("holds no CIFAR-10"));
        write_binary(folder.path());
        fs::write(folder.path().join("data_batch_4.bin"), vec![0; RECORD + 7]).unwrap();
        assert!(message(folder.path()).contains("data_batch_4.bin: 3080 bytes are no whole number of records"));
        fs::write(folder.path().join("data_batch_4.bin"), vec![200; RECORD]).unwrap();
        assert!(message(folder.path()).contains("record 0 has no label"));
        fs::remove_file(folder.path().join("data_batch_4.bin")).unwrap();
        assert!(message(folder.path()).contains("data_batch_4.bin: No such file"));
    }

    #[test]
    fn a_picture_that_is_no_table_of_images_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_rows(folder.path());
        image::RgbImage::new(1000, 2).save(folder.path().join("data_batch_2.png")).unwrap();
        let message = Cifar10::open(folder.path(), 3).err().unwrap().to_string();
        assert!(message.contains("data_batch_2.png: a row has 1000 pixels, not 1024"), "{message}");
    }
}
