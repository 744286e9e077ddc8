//! Reading a whole collection once, to say what is in it.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

use serde::Serialize;

use super::Picture;
use super::each::each;
use super::passed::PassedOver;
use super::source::Source;

/// How many of the commonest sizes are named.
const COMMON: usize = 5;

/// What [`check`] found in a collection.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Contents {
    /// Where the collection is.
    pub place: String,
    /// Images, readable or not.
    pub images: usize,
    /// Those that can be read.
    pub readable: usize,
    /// How many classes the labels have.
    pub classes: usize,
    /// The classes in order, each with its images.
    pub images_per_class: Vec<ClassImages>,
    /// How many images have no label.
    pub unlabelled: usize,
    /// Why there are labels that cannot be used, where that is so.
    pub labels_refused: Option<String>,
    /// How many images are stored in which format and colour type.
    pub kinds: BTreeMap<String, usize>,
    /// The least and the most columns.
    pub width: [usize; 2],
    /// The least and the most rows.
    pub height: [usize; 2],
    /// How many different sizes there are.
    pub sizes: usize,
    /// The commonest sizes: columns, rows, images.
    pub common_sizes: Vec<[usize; 3]>,
    /// The images that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Images with the same pixels as an earlier one.
    pub duplicates: Vec<Duplicate>,
    /// How a classifier would be trained and tested on it, or why not; none without labels.
    pub sides: Option<String>,
    /// Images to test on, outside the collection, with the same pixels as one in it.
    pub test_duplicates: Vec<Duplicate>,
    /// What lies in the collection's place and is not among its images.
    pub passed_over: PassedOver,
}

/// A class and how many images have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassImages {
    /// Its name, or its number in digits.
    pub class: String,
    /// How many images have it.
    pub images: usize,
}

/// An image that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// An image whose pixels another one has too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// Its name.
    pub name: String,
    /// The first image with these pixels.
    pub of: String,
}

/// What is kept of an image.
struct Seen {
    kind: String,
    width: usize,
    height: usize,
    pixels: u128,
}

/// Reads every image once on `threads` threads and reports each to `progress`. Memory holds 50 bytes an image and the
/// names of what is wrong, whatever the collection's size. `column` says which labels, as in [`Source::labels`]. The
/// images of `test`, which are none of the source's, are read too, and compared with them.
pub fn check(
    source: &dyn Source,
    test: Option<&dyn Source>,
    column: Option<&str>,
    threads: usize,
    mut progress: impl FnMut(usize),
) -> Contents {
    let mut found = Contents { place: source.place(), images: source.len(), ..Contents::default() };
    found.passed_over = source.passed_over();
    found.count_classes(source, column);
    let mut sizes: HashMap<[usize; 2], usize> = HashMap::new();
    let mut first: HashMap<u128, usize> = HashMap::new();
    let look = |index: usize| {
        let decoded = source.read(index)?.decode()?;
        let Picture { width, height, .. } = decoded.picture;
        Ok(Seen { kind: decoded.kind, width, height, pixels: digest(&decoded.picture) })
    };
    each(source.len(), threads, look, |index, seen: Result<Seen, String>| {
        progress(index);
        match seen {
            Err(reason) => found.unreadable.push(Unreadable { name: source.name(index), reason }),
            Ok(seen) => {
                found.readable += 1;
                *found.kinds.entry(seen.kind).or_default() += 1;
                *sizes.entry([seen.width, seen.height]).or_default() += 1;
                match first.entry(seen.pixels) {
                    Entry::Vacant(place) => drop(place.insert(index)),
                    Entry::Occupied(earlier) => {
                        let of = source.name(*earlier.get());
                        found.duplicates.push(Duplicate { name: source.name(index), of });
                    }
                }
            }
        }
        true
    });
    if let Some(test) = test {
        let look = |index: usize| Ok::<_, String>(digest(&test.read(index)?.decode()?.picture));
        each(test.len(), threads, look, |index, pixels| {
            if let Some(&of) = pixels.ok().and_then(|pixels| first.get(&pixels)) {
                found.test_duplicates.push(Duplicate { name: test.name(index), of: source.name(of) });
            }
            true
        });
    }
    let least_and_most = |side: usize| {
        let sides = sizes.keys().map(|size| size[side]);
        [sides.clone().min().unwrap_or(0), sides.max().unwrap_or(0)]
    };
    (found.width, found.height) = (least_and_most(0), least_and_most(1));
    found.sizes = sizes.len();
    let mut common: Vec<[usize; 3]> = sizes.into_iter().map(|([width, height], n)| [width, height, n]).collect();
    common.sort_by_key(|&[width, height, n]| (usize::MAX - n, width, height));
    common.truncate(COMMON);
    found.common_sizes = common;
    found
}

impl Contents {
    /// Reads the labels, and says what they are.
    fn count_classes(&mut self, source: &dyn Source, column: Option<&str>) {
        match source.labels(column) {
            Ok(labels) => {
                self.classes = labels.classes().len();
                self.unlabelled = labels.unlabelled();
                let counts = labels.counts().into_iter().enumerate();
                let named = counts.map(|(class, images)| ClassImages { class: labels.classes().name(class), images });
                self.images_per_class = named.collect();
            }
            Err(error) => {
                self.unlabelled = source.len();
                self.labels_refused = Some(error.to_string());
            }
        }
    }
}

/// 128 bits that tell pictures apart: two are equal by chance once in 10²⁶ pairs of a million images.
fn digest(picture: &Picture) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, picture.width, picture.height, picture.channels).hash(&mut hasher);
        hasher.write(&picture.pixels);
        hasher.finish()
    };
    u128::from(half(0)) << 64 | u128::from(half(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A TIFF of one grey value, not compressed.
    fn tiff(value: u8, width: u16, height: u16) -> Vec<u8> {
        let length = width * height;
        let tags = [(256, width), (257, height), (258, 8), (262, 1), (273, 8), (279, length)];
        let mut bytes = [&b"II*\0"[..], &(8 + u32::from(length)).to_le_bytes()].concat();
        bytes.resize(8 + usize::from(length), value);
        bytes.extend((tags.len() as u16).to_le_bytes());
        for (tag, number) in tags {
            // One number of 16 bits, in a field of 32.
            bytes.extend([tag, 3, 1, 0, number, 0].iter().flat_map(|half: &u16| half.to_le_bytes()));
        }
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn a_collection_is_described_with_what_is_wrong_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("cats")).unwrap();
        fs::create_dir(at("dogs")).unwrap();
        let grey = |value: u8, side: u32| image::GrayImage::from_pixel(side, 7, image::Luma([value]));
        grey(1, 9).save(at("cats/a.png")).unwrap();
        grey(2, 9).save(at("cats/b.bmp")).unwrap();
        fs::write(at("dogs/c.tiff"), tiff(1, 9, 7)).unwrap();
        grey(1, 8).save(at("dogs/d.png")).unwrap();
        fs::write(at("dogs/e.jpg"), b"not a picture").unwrap();
        let source = crate::data::open(folder.path().to_str().unwrap()).unwrap();
        for threads in [1, 3] {
            let mut reported = Vec::new();
            let found = check(&*source, None, None, threads, |index| reported.push(index));
            assert_eq!(reported, [0, 1, 2, 3, 4]);
            assert_eq!((found.images, found.readable, found.classes, found.sizes), (5, 4, 2, 2));
            assert_eq!((found.width, found.height), ([8, 9], [7, 7]));
            assert_eq!(found.common_sizes, [[9, 7, 3], [8, 7, 1]]);
            let kinds: Vec<(&str, usize)> = found.kinds.iter().map(|(kind, n)| (kind.as_str(), *n)).collect();
            assert_eq!(kinds, [("BMP RGB", 1), ("PNG grey", 2), ("TIFF grey", 1)]);
            let [Unreadable { name, reason }] = &found.unreadable[..] else { panic!("{found:?}") };
            assert!(name.ends_with("dogs/e.jpg") && reason.contains("neither JPEG"), "{name}: {reason}");
            let [Duplicate { name, of }] = &found.duplicates[..] else { panic!("{found:?}") };
            assert!(name.ends_with("dogs/c.tiff") && of.ends_with("cats/a.png"), "{name}: {of}");
        }
    }
}
