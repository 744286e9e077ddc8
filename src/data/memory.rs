//! A collection of images in memory: what a page hands over.

use std::ops::Range;

use super::Picture;
use super::augment::shrink;
use super::companions;
use super::decode::{decode_bytes, dimensions};
use super::labels::{self, Labels, Numbered, folder_at};
use super::layout::{CIFAR, CIFAR_CLASSES, CIFAR_NAMES};
use super::names::{in_hidden, path_key};
use super::source::{Source, Stored};
use crate::error::Error;

/// Larger images are scaled once, to a shorter side of [`KEPT_SIDE`] pixels, so that a step does not wait for the
/// decoding of photos that it then shows at a fraction of their size.
const LARGE_SIDE: usize = 512;
const KEPT_SIDE: usize = 256;

/// The most bytes that a collection holds: a browser gives a page at most four times as many.
const MAX_BYTES: usize = 1 << 30;

/// Image files and CIFAR-10 files by name, in the order in which a folder of them would be read.
#[derive(Default)]
pub struct Images {
    files: Vec<File>,
    bytes: usize,
    /// How many files hold other than one image.
    tables: usize,
}

struct File {
    name: String,
    held: Held,
}

enum Held {
    /// A small image file.
    Encoded(Vec<u8>),
    /// A large image, scaled.
    Scaled(Picture),
    /// Records of CIFAR-10's binary layout.
    Cifar(Vec<u8>),
}

impl File {
    fn images(&self) -> usize {
        match &self.held {
            Held::Cifar(bytes) => bytes.len() / (1 + CIFAR.values()),
            _ => 1,
        }
    }

    fn bytes(&self) -> usize {
        match &self.held {
            Held::Encoded(bytes) | Held::Cifar(bytes) => bytes.len(),
            Held::Scaled(picture) => picture.pixels.len(),
        }
    }
}

impl Images {
    /// Adds a file and returns how many images it holds: one, or those of a CIFAR-10 file in the binary layout. What a
    /// folder of the files would leave out is left out here: hidden files, and masks and labels beside photos. Where a
    /// photo comes after its masks, these are taken out again and count against it.
    ///
    /// # Errors
    /// In words, without the name: it is neither, it is left out, it is damaged, or the collection would become too
    /// large.
    pub fn add(&mut self, name: &str, bytes: Vec<u8>) -> Result<usize, String> {
        // The folder that was chosen may be hidden.
        let below = name.split_once('/').map_or(name, |(_, below)| below);
        if in_hidden(below.as_bytes()) {
            return Err("a hidden file, or in a hidden folder".into());
        }
        let own = owner(name);
        let has_photo = |own: &str| self.beside(own).any(|at| owner(&self.files[at].name).is_none());
        if own.is_some_and(has_photo) {
            return Err("a mask or label of the photo beside it".into());
        }
        let held = match is_cifar(&bytes) {
            true => Held::Cifar(bytes),
            false => image(bytes)?,
        };
        let file = File { name: name.into(), held };
        let (images, size) = (file.images(), file.bytes());
        if self.bytes + size > MAX_BYTES {
            let mib = MAX_BYTES >> 20;
            return Err(format!("the pictures would take more than {mib} MiB; train on larger collections natively"));
        }
        let at = self.files.partition_point(|held| path_key(held.name.as_bytes()).le(path_key(name.as_bytes())));
        self.files.insert(at, file);
        self.bytes += size;
        self.tables += usize::from(images != 1);
        if own.is_some() {
            return Ok(images);
        }
        let photo = stem(name);
        let is_mask = |at: &usize| owner(&self.files[*at].name) == Some(photo);
        let masks: Vec<usize> = self.beside(photo).filter(is_mask).collect();
        masks.iter().rev().for_each(|&at| self.bytes -= self.files.remove(at).bytes());
        Ok(images.saturating_sub(masks.len()))
    }

    /// The places of the files whose names are `stem` and something behind a dot: they come one after the other.
    fn beside(&self, stem: &str) -> Range<usize> {
        let start = format!("{stem}.");
        let first = self.files.partition_point(|held| path_key(held.name.as_bytes()).lt(path_key(start.as_bytes())));
        let count = self.files[first..].iter().take_while(|held| held.name.starts_with(&start)).count();
        first..first + count
    }

    /// The file of an image, and the image's number in it.
    fn locate(&self, mut index: usize) -> (&File, usize) {
        if self.tables == 0 {
            return (&self.files[index], 0);
        }
        for file in &self.files {
            match index.checked_sub(file.images()) {
                Some(rest) => index = rest,
                None => return (file, index),
            }
        }
        panic!("image {index} past the end of the collection");
    }
}

impl Source for Images {
    fn place(&self) -> String {
        "the pictures".into()
    }

    fn len(&self) -> usize {
        self.files.iter().map(File::images).sum()
    }

    fn name(&self, index: usize) -> String {
        match self.locate(index) {
            (File { name, held: Held::Cifar(_) }, number) => format!("{name} image {number}"),
            (File { name, .. }, _) => name.clone(),
        }
    }

    fn labels(&self, column: Option<&str>) -> Result<Labels, Error> {
        let place = self.place();
        labels::no_column(&place, column)?;
        if self.tables == 0 {
            let names: Vec<&[u8]> = self.files.iter().map(|file| file.name.as_bytes()).collect();
            let first = |index: usize| folder_at(names[index], 0);
            // The folder that was chosen is no class, if it is one.
            let chosen = names.first().is_some_and(|name| folder_at(name, 0).is_some())
                && (1..names.len()).all(|index| first(index) == first(0));
            return labels::by_folder(names.len(), |index| folder_at(names[index], usize::from(chosen)))
                .map_err(|reason| labels::refuse(&place, &reason));
        }
        let mut found = Numbered::new(Some(CIFAR_NAMES.map(str::to_owned).into()));
        for file in &self.files {
            let pushed = match &file.held {
                Held::Cifar(bytes) => {
                    bytes.chunks_exact(1 + CIFAR.values()).try_for_each(|record| found.push(Some(record[0].into())))
                }
                _ => found.push(None),
            };
            pushed.map_err(|reason| labels::refuse(&file.name, &reason))?;
        }
        Ok(found.finish())
    }

    fn folder(&self, index: usize) -> Option<String> {
        let name = self.locate(index).0.name.as_bytes();
        folder_at(name, 0).map(|folder| String::from_utf8_lossy(folder).into_owned())
    }

    fn identify(&self, index: usize, key: &mut Vec<u8>) {
        match self.locate(index) {
            (File { name, held: Held::Cifar(_) }, number) => CIFAR.identify(name.as_bytes(), number, key),
            (File { name, .. }, _) => key.extend(name.bytes()),
        }
    }

    fn read(&self, index: usize) -> Result<Stored, String> {
        let (file, number) = self.locate(index);
        Ok(match &file.held {
            Held::Encoded(bytes) => Stored::Encoded(bytes.clone()),
            Held::Scaled(picture) => Stored::Pixels(picture.clone()),
            Held::Cifar(bytes) => {
                let size = 1 + CIFAR.values();
                Stored::Pixels(CIFAR.picture(&bytes[number * size..][1..size]))
            }
        })
    }
}

/// The name without ending of the photo that a file of this name is certainly a mask or label of, if it is there.
fn owner(name: &str) -> Option<&str> {
    let (owner, certain) = companions::of(name.as_bytes())?;
    name.get(..owner.len()).filter(|_| certain)
}

/// A name without its ending.
fn stem(name: &str) -> &str {
    &name[..companions::stem(name.as_bytes()).len()]
}

/// An image file, looked at but not decoded unless it is large.
fn image(bytes: Vec<u8>) -> Result<Held, String> {
    let (width, height) = dimensions(&bytes)?;
    if width.min(height) as usize <= LARGE_SIDE {
        return Ok(Held::Encoded(bytes));
    }
    Ok(Held::Scaled(shrink(decode_bytes(&bytes)?.picture, KEPT_SIDE)))
}

/// Whether these are whole records of CIFAR-10, to go by their length and the labels of the first and the last.
fn is_cifar(bytes: &[u8]) -> bool {
    let record = 1 + CIFAR.values();
    !bytes.is_empty()
        && bytes.len().is_multiple_of(record)
        && [0, bytes.len() - record].into_iter().all(|at| bytes[at] < CIFAR_CLASSES)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use image::{DynamicImage, ImageFormat, RgbImage};
    use std::io::Cursor;

    fn png(width: u32, height: u32, value: u8) -> Vec<u8> {
        let mut encoded = Cursor::new(Vec::new());
        let image = RgbImage::from_pixel(width, height, image::Rgb([value; 3]));
        DynamicImage::ImageRgb8(image).write_to(&mut encoded, ImageFormat::Png).unwrap();
        encoded.into_inner()
    }

    #[test]
    fn images_come_in_the_order_of_their_paths() {
        let mut images = Images::default();
        for (value, name) in ["a.b/1.png", "a/1.png", "a-/1.png", "a/b/1.png"].into_iter().enumerate() {
            assert_eq!(images.add(name, png(3, 2, value as u8)), Ok(1));
        }
        let names: Vec<_> = (0..images.len()).map(|index| images.name(index)).collect();
        assert_eq!(names, ["a/1.png", "a/b/1.png", "a-/1.png", "a.b/1.png"]);
        let picture = images.load(3, 3).unwrap();
        assert_eq!((picture.height, picture.width, picture.pixels[0]), (2, 3, 0));
    }

    #[test]
    fn large_photos_are_scaled_once() {
        let mut images = Images::default();
        images.add("photo.png", png(1200, 600, 7)).unwrap();
        images.add("thumb.png", png(500, 400, 7)).unwrap();
        let sizes: Vec<_> = (0..2).map(|i| images.load(i, 3).unwrap()).map(|p| (p.height, p.width)).collect();
        assert_eq!(sizes, [(256, 512), (400, 500)]);
    }

    #[test]
    fn cifar_records_are_images() {
        let mut file = Vec::new();
        for image in 0..3u8 {
            file.push(image);
            file.extend((0..3072u32).map(|at| image * 10 + (at / 1024) as u8));
        }
        let mut images = Images::default();
        assert_eq!(images.add("data_batch_1.bin", file.clone()), Ok(3));
        assert_eq!(images.name(2), "data_batch_1.bin image 2");
        assert_eq!(images.load(2, 3).unwrap().pixels[..3], [20, 21, 22]);
        file[0] = 10;
        assert!(images.add("x.bin", file).unwrap_err().contains("neither JPEG"));
        assert!(images.add("x.png", png(9, 9, 0)[..40].to_vec()).is_err());
        assert_eq!(images.len(), 3);
    }

    #[test]
    fn folders_and_the_bytes_of_cifar_are_labels() {
        let labels = |names: &[&str]| {
            let mut images = Images::default();
            names.iter().for_each(|name| assert_eq!(images.add(name, png(3, 2, 1)), Ok(1)));
            images.labels(None).unwrap()
        };
        let of = |labels: &Labels| (0..labels.len()).map(|image| labels.of(image)).collect::<Vec<_>>();
        let folders = labels(&["dog/1.png", "cat/2.png", "3.png"]);
        assert_eq!((of(&folders), folders.classes().name(0)), (vec![None, Some(0), Some(1)], "cat".into()));
        // The folder that was chosen is no class.
        assert_eq!(labels(&["set/dog/1.png", "set/cat/2.png"]).classes(), folders.classes());
        let mut images = Images::default();
        images.add("cat/1.png", png(3, 2, 1)).unwrap();
        let mut file: Vec<u8> = [8, 3, 9].iter().flat_map(|&label| [vec![label], vec![7; 3072]].concat()).collect();
        images.add("data_batch_1.bin", file.clone()).unwrap();
        let cifar = images.labels(None).unwrap();
        assert_eq!((of(&cifar), cifar.classes().name(3)), (vec![None, Some(8), Some(3), Some(9)], "cat".into()));
        file[3073] = 10;
        images.add("data_batch_2.bin", file).unwrap();
        assert!(images.labels(None).unwrap_err().to_string().contains("data_batch_2.bin: the label 10 is none"));
    }

    #[test]
    fn a_folder_has_the_same_images_here_as_on_a_disk() {
        use super::super::{Collection, open};
        let disk = tempfile::tempdir().unwrap();
        let names = [
            "b/1.depth.png",
            "b/1.jpg",
            "b/1.seg.png",
            "b/2.png",
            "b/.x/3.png",
            "b/._2.png",
            "__MACOSX/b/2.png",
            "a.png",
        ];
        for backwards in [false, true] {
            let (mut images, mut count) = (Images::default(), 0);
            let mut names = names.to_vec();
            if backwards {
                names.reverse();
            }
            for name in names {
                let path = disk.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, png(3, 2, 1)).unwrap();
                count += images.add(&format!("set/{name}"), png(3, 2, 1)).unwrap_or(0);
            }
            let folder = open(disk.path().to_str().unwrap()).unwrap();
            let named: Vec<_> = (0..images.len()).map(|index| images.name(index)).collect();
            assert_eq!(named, ["set/a.png", "set/b/1.jpg", "set/b/2.png"]);
            assert_eq!((Collection::of(&images), count), (Collection::of(&*folder), 3));
        }
    }
}
