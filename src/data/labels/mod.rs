//! Classes of images: their names and order, and the class of each image. The order of the classes is what numbers
//! them. The other files here read labels that lie beside images; each is asked for them only when somebody wants them.

#[cfg(not(target_arch = "wasm32"))]
pub(super) mod cifar;
mod folders;
#[cfg(not(target_arch = "wasm32"))]
pub(super) mod idx;
#[cfg(not(target_arch = "wasm32"))]
mod join;
#[cfg(not(target_arch = "wasm32"))]
pub(super) mod listed;
#[cfg(not(target_arch = "wasm32"))]
pub(super) mod npy;
#[cfg(not(target_arch = "wasm32"))]
pub(super) mod tar;
#[cfg(not(target_arch = "wasm32"))]
mod texts;

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::text::shown;

pub(super) use folders::{by_folder, folder_at};
#[cfg(not(target_arch = "wasm32"))]
pub(super) use {join::Joining, texts::Texts};

/// The most classes. ImageNet-21k has 21,841; a larger number is no class.
pub(super) const MOST: usize = 1 << 20;

/// The most bytes of all names together.
const MOST_BYTES: usize = 16 << 20;

/// The classes of a collection, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Classes {
    /// No image has a label.
    #[default]
    Unlabelled,
    /// Classes 0 to one less than this, which have no names.
    Numbers(usize),
    /// The names of the classes, each once.
    Names(Vec<String>),
}

impl Classes {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Classes::Unlabelled => 0,
            Classes::Numbers(count) => *count,
            Classes::Names(names) => names.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of a class: its number in digits where it has none.
    pub fn name(&self, class: usize) -> String {
        match self {
            Classes::Names(names) if class < names.len() => names[class].clone(),
            _ => class.to_string(),
        }
    }
}

/// The classes of a collection and the class of each of its images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    classes: Classes,
    /// For each image its class, or −1.
    of: Vec<i32>,
    /// Whether the classes are folders, for want of other labels.
    by_folder: bool,
}

impl Labels {
    /// The class of each image, −1 for none. Names are of that many classes; without them there are as many as the largest
    /// number says.
    ///
    /// # Errors
    /// In words, without the place: names that cannot be those of classes, or a number that is no class.
    pub fn new(names: Option<Vec<String>>, of: impl IntoIterator<Item = i64>) -> std::result::Result<Labels, String> {
        let mut labels = Numbered::new(names.map(checked).transpose()?);
        for (image, class) in of.into_iter().enumerate() {
            labels.push(Some(class.into())).map_err(|reason| format!("number {image}: {reason}"))?;
        }
        Ok(labels.finish())
    }

    /// Labels of so many images that have none.
    pub fn none(images: usize) -> Labels {
        Labels { of: vec![-1; images], ..Labels::default() }
    }

    /// The classes in order.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// How many images there are, labelled or not.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The class of an image, if it has one.
    pub fn of(&self, image: usize) -> Option<u32> {
        u32::try_from(self.of[image]).ok()
    }

    /// How many images each class has.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.of.iter().filter_map(|&class| usize::try_from(class).ok()).for_each(|class| counts[class] += 1);
        counts
    }

    /// How many images have no label.
    pub fn unlabelled(&self) -> usize {
        self.of.iter().filter(|&&class| class < 0).count()
    }

    /// The same labels with other classes, `to` being the new number of each.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn renumbered(&self, classes: &Classes, to: &[u32]) -> Labels {
        let of = self.of.iter().map(|&class| usize::try_from(class).map_or(-1, |class| to[class] as i32)).collect();
        Labels { classes: classes.clone(), of, by_folder: self.by_folder }
    }

    /// These labels and behind them those of other images, which have the same classes or none.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn followed_by(&self, others: &Labels) -> Labels {
        let classes = if self.classes.is_empty() { &others.classes } else { &self.classes };
        Labels { classes: classes.clone(), of: [&self.of[..], &others.of].concat(), by_folder: self.by_folder }
    }

    /// The same without the labels of all images but these.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn only(&self, images: &[u32]) -> Labels {
        let mut of = vec![-1; self.len()];
        images.iter().for_each(|&image| of[image as usize] = self.of[image as usize]);
        Labels { classes: self.classes.clone(), of, by_folder: self.by_folder }
    }

    /// The labels of some of the images, with the same classes.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn some(&self, images: &[u32]) -> Labels {
        let of = images.iter().map(|&image| self.of[image as usize]).collect();
        Labels { classes: self.classes.clone(), of, by_folder: self.by_folder }
    }
}

/// Labels that a file gives as numbers.
pub(super) struct Numbered {
    names: Option<Vec<String>>,
    of: Vec<i32>,
    most: i32,
}

impl Numbered {
    /// Numbers of the classes of these names, or where there are none of as many as the largest says.
    pub(super) fn new(names: Option<Vec<String>>) -> Numbered {
        Numbered { names, of: Vec::new(), most: -1 }
    }

    /// The label of the next image; none and −1 mean that it has none.
    ///
    /// # Errors
    /// In words, without the place: the number is no class.
    pub(super) fn push(&mut self, label: Option<i128>) -> std::result::Result<(), String> {
        let label = label.unwrap_or(-1);
        let count = self.names.as_ref().map_or(MOST, Vec::len);
        let class = match (label, self.names.is_some()) {
            (..-1, _) => {
                return Err(format!("the label {label} is negative; only -1 may be, for an image without one"));
            }
            (..0, _) => -1,
            (label, true) if label >= count as i128 => {
                return Err(format!("the label {label} is none of the {count} classes, numbered from 0"));
            }
            (label, false) if label >= count as i128 => {
                return Err(format!("the label {label} is no class: there are at most {count}, numbered from 0"));
            }
            (label, _) => label as i32,
        };
        self.most = self.most.max(class);
        self.of.push(class);
        Ok(())
    }

    /// The labels of all images pushed.
    pub(super) fn finish(self) -> Labels {
        let classes = match (self.names, self.most) {
            (_, -1) => Classes::Unlabelled,
            (Some(names), _) => Classes::Names(names),
            (None, most) => Classes::Numbers(most as usize + 1),
        };
        Labels { classes, of: self.of, by_folder: false }
    }
}

/// The whole number in up to eight bytes.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn whole(bytes: &[u8], big_endian: bool, signed: bool) -> i128 {
    let add = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
    let value = if big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) };
    match signed {
        true => i128::from((value << (64 - 8 * bytes.len())) as i64 >> (64 - 8 * bytes.len())),
        false => i128::from(value),
    }
}

/// The names, if they can be those of classes.
///
/// # Errors
/// In words, without the place: there are too many, one is empty, or one stands there twice.
pub(super) fn checked(names: Vec<String>) -> std::result::Result<Vec<String>, String> {
    if names.len() > MOST || names.iter().map(String::len).sum::<usize>() > MOST_BYTES {
        return Err(format!("there are more than {MOST} classes, or their names are longer than 16 MiB together"));
    }
    let mut seen = HashSet::new();
    for (number, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("class {number} has an empty name"));
        }
        if !seen.insert(name.as_str()) {
            return Err(format!("two classes are called `{name}`"));
        }
    }
    Ok(names)
}

/// Labels that cannot be used, by their place.
pub(super) fn refuse(place: &str, reason: &str) -> Error {
    Error::Images(format!("{}: {}", shown(place), shown(reason)))
}

/// Refuses that labels are named of a collection that has one kind of them at most.
pub(super) fn no_column(place: &str, column: Option<&str>) -> Result<()> {
    match column {
        None => Ok(()),
        Some(column) => Err(refuse(
            place,
            &format!(
                "it has no labels called `{column}`; parquet files have columns, and CIFAR-100 has `fine` and `coarse`"
            ),
        )),
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    fn numbered(names: Option<&[&str]>, labels: &[Option<i128>]) -> std::result::Result<Labels, String> {
        let names = names.map(|names| names.iter().map(|name| name.to_string()).collect());
        let mut numbered = Numbered::new(names);
        labels.iter().try_for_each(|label| numbered.push(*label))?;
        Ok(numbered.finish())
    }

    #[test]
    fn numbers_are_classes_and_null_and_minus_one_are_none() {
        let labels = numbered(None, &[Some(2), None, Some(0), Some(-1)]).unwrap();
        assert_eq!((labels.classes(), labels.unlabelled()), (&Classes::Numbers(3), 2));
        assert_eq!((0..4).map(|image| labels.of(image)).collect::<Vec<_>>(), [Some(2), None, Some(0), None]);
        assert_eq!((labels.counts(), labels.classes().name(2)), (vec![1, 0, 1], "2".into()));
        let named = numbered(Some(&["b", "a"]), &[Some(1)]).unwrap();
        assert_eq!((named.classes().len(), named.classes().name(1)), (2, "a".into()));
        assert_eq!(numbered(Some(&["a"]), &[None]).unwrap(), Labels::none(1));
    }

    #[test]
    fn other_numbers_are_no_classes() {
        let reason = |names, label| numbered(names, &[Some(label)]).unwrap_err();
        assert!(reason(None, -2).contains("the label -2 is negative"));
        assert!(reason(Some(&["a", "b"]), 2).contains("2 is none of the 2 classes"));
        assert!(
            reason(None, 1 << 20).contains("1048576 is no class") && reason(None, i128::MAX).contains("is no class")
        );
    }

    #[test]
    fn names_are_there_once() {
        let names = |names: &[&str]| checked(names.iter().map(|name| name.to_string()).collect());
        assert_eq!(names(&["b", "a"]).unwrap(), ["b", "a"]);
        assert!(names(&["a", "b", "a"]).unwrap_err().contains("two classes are called `a`"));
        assert!(names(&["a", ""]).unwrap_err().contains("class 1 has an empty name"));
    }

    #[test]
    fn whole_numbers_of_every_width_and_order_are_read() {
        assert_eq!([whole(&[0xFF], false, true), whole(&[0xFF], false, false)], [-1, 255]);
        assert_eq!([whole(&[1, 2], true, true), whole(&[1, 2], false, true)], [0x102, 0x201]);
        assert_eq!(whole(&(-3i64).to_le_bytes(), false, true), -3);
        assert_eq!(whole(&u64::MAX.to_be_bytes(), true, false), i128::from(u64::MAX));
    }
}
