//! Labels that a file gives as texts: their order is that of code points.

use std::collections::HashMap;

use super::{Classes, Labels, MOST, MOST_BYTES, checked};

/// Labels as texts.
#[derive(Default)]
pub(in crate::data) struct Texts {
    numbers: HashMap<String, i32>,
    bytes: usize,
    of: Vec<i32>,
}

impl Texts {
    /// The label of the next image.
    ///
    /// # Errors
    /// In words, without the place: it is no text, or there are too many different ones.
    pub(in crate::data) fn push(&mut self, label: Option<&[u8]>) -> Result<(), String> {
        let Some(label) = label else {
            self.of.push(-1);
            return Ok(());
        };
        let text = std::str::from_utf8(label).map_err(|_| "the label is no text in UTF-8")?;
        let number = match self.numbers.get(text) {
            Some(&number) => number,
            None => {
                self.bytes += text.len();
                if self.numbers.len() >= MOST || self.bytes > MOST_BYTES {
                    return Err(format!("there are too many different labels up to `{text:.40}`; are they classes?"));
                }
                let number = self.numbers.len() as i32;
                self.numbers.insert(text.to_owned(), number);
                number
            }
        };
        self.of.push(number);
        Ok(())
    }

    /// The labels of all images pushed.
    ///
    /// # Errors
    /// In words, without the place: a label is an empty text.
    pub(in crate::data) fn finish(mut self) -> Result<Labels, String> {
        if self.numbers.is_empty() {
            return Ok(Labels::none(self.of.len()));
        }
        let mut sorted: Vec<(String, i32)> = self.numbers.into_iter().collect();
        sorted.sort();
        let mut to = vec![-1; sorted.len()];
        sorted.iter().zip(0..).for_each(|((_, from), number)| to[*from as usize] = number);
        self.of.iter_mut().filter(|class| **class >= 0).for_each(|class| *class = to[*class as usize]);
        let classes = Classes::Names(checked(sorted.into_iter().map(|(name, _)| name).collect())?);
        Ok(Labels { classes, of: self.of, by_folder: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_classes_in_the_order_of_code_points() {
        let mut texts = Texts::default();
        for label in [Some(&b"dog"[..]), Some(b"Zebra"), None, Some(b"ant"), Some(b"dog")] {
            texts.push(label).unwrap();
        }
        let labels = texts.finish().unwrap();
        assert_eq!(labels.classes(), &Classes::Names(["Zebra", "ant", "dog"].map(Into::into).into()));
        assert_eq!(labels.of, [2, 0, -1, 1, 2]);
        let mut texts = Texts::default();
        assert!(texts.push(Some(b"\xFF")).unwrap_err().contains("UTF-8"));
        assert!(texts.push(Some(&vec![b'a'; MOST_BYTES + 1])).unwrap_err().contains("too many different labels"));
    }
}
