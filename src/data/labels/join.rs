//! Labels of several collections that are read as one.

use std::collections::HashMap;

use super::{Classes, Labels, checked};

/// The labels of collections, one after the other. Classes of one name are one class.
#[derive(Default)]
pub(in crate::data) struct Joining {
    classes: Classes,
    numbers: HashMap<String, i32>,
    /// Whether the names of each part so far are in the order of code points; then those of all are.
    sorted: bool,
    by_folder: bool,
    of: Vec<i32>,
    /// The first part that has classes.
    first: String,
}

impl Joining {
    /// Adds the labels of the next collection. Folders are no classes where another part has labels of another kind.
    ///
    /// # Errors
    /// In words: one part has names and another has numbers.
    pub(in crate::data) fn add(&mut self, place: &str, part: Labels) -> Result<(), String> {
        if part.classes == Classes::Unlabelled || (part.by_folder && !self.by_folder && !self.classes.is_empty()) {
            self.of.resize(self.of.len() + part.of.len(), -1);
            return Ok(());
        }
        if self.by_folder && !part.by_folder {
            *self = Joining { of: vec![-1; self.of.len()], ..Joining::default() };
        }
        if self.classes == Classes::Unlabelled {
            (self.first, self.sorted, self.by_folder) = (place.to_owned(), true, part.by_folder);
        }
        match (&mut self.classes, part.classes) {
            (classes @ Classes::Unlabelled, Classes::Numbers(count)) => *classes = Classes::Numbers(count),
            (Classes::Numbers(all), Classes::Numbers(count)) => *all = count.max(*all),
            (Classes::Names(all), Classes::Names(names)) if *all == names => {}
            (Classes::Unlabelled | Classes::Names(_), Classes::Names(names)) => {
                return self.add_named(names, &part.of);
            }
            (_, other) => {
                let (has, had) = match other {
                    Classes::Names(_) => ("names", "numbers"),
                    _ => ("numbers", "names"),
                };
                let first = &self.first;
                return Err(format!("its classes have {has} and those of {first} have {had}; give labels of one kind"));
            }
        }
        self.of.extend(part.of);
        Ok(())
    }

    fn add_named(&mut self, names: Vec<String>, of: &[i32]) -> Result<(), String> {
        self.sorted &= names.is_sorted();
        let mut all = match std::mem::take(&mut self.classes) {
            Classes::Names(all) => all,
            _ => Vec::new(),
        };
        let numbers: Vec<i32> = names
            .into_iter()
            .map(|name| {
                *self.numbers.entry(name).or_insert_with_key(|name| {
                    all.push(name.clone());
                    all.len() as i32 - 1
                })
            })
            .collect();
        self.of.extend(of.iter().map(|&class| usize::try_from(class).map_or(-1, |class| numbers[class])));
        self.classes = Classes::Names(checked(all)?);
        Ok(())
    }

    /// The labels of all.
    pub(in crate::data) fn finish(mut self) -> Labels {
        if let (Classes::Names(names), true) = (&mut self.classes, self.sorted) {
            names.sort();
            let numbers: HashMap<&str, i32> = names.iter().map(String::as_str).zip(0..).collect();
            let mut to = vec![-1; names.len()];
            self.numbers.iter().for_each(|(name, &from)| to[from as usize] = numbers[name.as_str()]);
            self.of.iter_mut().filter(|class| **class >= 0).for_each(|class| *class = to[*class as usize]);
        }
        Labels { classes: self.classes, of: self.of, by_folder: self.by_folder }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Classes {
        Classes::Names(names.iter().map(|name| name.to_string()).collect())
    }

    fn joined(parts: &[(Classes, &[i32], bool)]) -> Result<(Classes, Vec<i32>), String> {
        let mut all = Joining::default();
        for (number, (classes, of, by_folder)) in parts.iter().enumerate() {
            let part = Labels { classes: classes.clone(), of: of.to_vec(), by_folder: *by_folder };
            all.add(&format!("part {number}"), part)?;
        }
        let Labels { classes, of, .. } = all.finish();
        Ok((classes, of))
    }

    #[test]
    fn classes_of_one_name_are_one() {
        let sorted = joined(&[(names(&["b", "d"]), &[1, 0, -1], false), (names(&["a", "d"]), &[0, 1], false)]).unwrap();
        assert_eq!(sorted, (names(&["a", "b", "d"]), vec![2, 1, -1, 0, 2]));
        // Lists in an order of their own keep it.
        let listed = joined(&[(names(&["d", "b"]), &[1, 0], false), (names(&["a", "d"]), &[0, 1], false)]).unwrap();
        assert_eq!(listed, (names(&["d", "b", "a"]), vec![1, 0, 2, 0]));
        let same = joined(&[(names(&["d", "b"]), &[1], false), (names(&["d", "b"]), &[0, -1], false)]).unwrap();
        assert_eq!(same, (names(&["d", "b"]), vec![1, 0, -1]));
        let numbers = joined(&[(Classes::Numbers(2), &[1], false), (Classes::Unlabelled, &[-1], false)]).unwrap();
        assert_eq!(numbers, (Classes::Numbers(2), vec![1, -1]));
    }

    #[test]
    fn names_and_numbers_are_not_joined() {
        let reason = joined(&[(names(&["a"]), &[0], false), (Classes::Numbers(3), &[2], false)]).unwrap_err();
        assert!(reason.contains("its classes have numbers and those of part 0 have names"), "{reason}");
    }

    #[test]
    fn folders_are_classes_only_where_nothing_else_is() {
        let folders = (names(&["images"]), &[0, 0][..], true);
        let numbers = (Classes::Numbers(3), &[2][..], false);
        assert_eq!(joined(&[folders.clone(), numbers.clone()]).unwrap(), (Classes::Numbers(3), vec![-1, -1, 2]));
        assert_eq!(joined(&[numbers, folders.clone()]).unwrap(), (Classes::Numbers(3), vec![2, -1, -1]));
        assert_eq!(joined(&[folders.clone(), folders]).unwrap().1, [0; 4]);
    }
}
