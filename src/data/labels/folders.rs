//! Classes that are folders, in the order of torchvision's `ImageFolder`: by code point.

use std::collections::BTreeMap;
use std::path::is_separator;

use super::{Classes, Labels, checked};

/// The labels of `count` images, of which `class` gives the name of each one's folder.
///
/// # Errors
/// In words, without the place: there are too many classes.
pub(in crate::data) fn by_folder<'n>(
    count: usize,
    class: impl Fn(usize) -> Option<&'n [u8]>,
) -> Result<Labels, String> {
    // The order of UTF-8 is that of code points.
    let mut numbers: BTreeMap<&[u8], i32> = (0..count).filter_map(&class).map(|name| (name, 0)).collect();
    if numbers.is_empty() {
        return Ok(Labels::none(count));
    }
    let names = numbers.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let classes = Classes::Names(checked(names)?);
    numbers.values_mut().zip(0..).for_each(|(number, at)| *number = at);
    let of = (0..count).map(|index| class(index).map_or(-1, |name| numbers[name])).collect();
    Ok(Labels { classes, of, by_folder: true })
}

/// The folder of a path that lies `depth` folders deep: the first at 0. None where the path has no such folder.
pub(in crate::data) fn folder_at(path: &[u8], depth: usize) -> Option<&[u8]> {
    let mut parts = path.split(|&byte| is_separator(char::from(byte)));
    let folder = parts.nth(depth)?;
    parts.next().map(|_| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_is_the_class_in_the_order_of_code_points() {
        let paths = ["class10/a/1.png", "Zebra/2.png", "äpfel/3.png", "class2/b/c/4.png", "5.png"];
        let labels = by_folder(5, |index| folder_at(paths[index].as_bytes(), 0)).unwrap();
        assert_eq!(labels.classes(), &Classes::Names(["Zebra", "class10", "class2", "äpfel"].map(Into::into).into()));
        assert_eq!(labels.of, [1, 0, 3, 2, -1]);
        assert_eq!(folder_at(b"train/a/1.png", 1), Some(&b"a"[..]));
        assert_eq!((folder_at(b"train/1.png", 1), folder_at(b"1.png", 1)), (None, None));
    }
}
