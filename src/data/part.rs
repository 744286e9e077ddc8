//! One side of a data set, or both, with labels where there are any.

use std::sync::Arc;

use super::labelled::matched;
use super::labels::Labels;
use super::open::open;
use super::sides::open_sides;
use super::source::Source;
use crate::error::{Error, Result};
use crate::text::shown;

/// Which images of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Those to train on: all of a data set that has no other side.
    Train,
    /// Those to test on.
    Test,
    /// Both, those to train on first.
    All,
}

impl Part {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Test => "test",
            Part::All => "all",
        }
    }
}

/// What [`chosen`] found.
pub struct Chosen {
    /// The images, source after source.
    pub sources: Vec<Arc<dyn Source>>,
    /// The labels of all of them in that order. Classes have the order of the side to train on, unless that has no labels.
    pub labels: Labels,
    /// Which part it is.
    pub part: Part,
    /// What was taken, in words.
    pub how: String,
}

/// Opens a part of `place`, which is named as [`open`](super::open()) takes it: the one asked for, or else what there is to
/// train on where `place` has two sides, and all of it where it has one. Labels are read where there are any; those that cannot be
/// used are an error where they are `needed`, otherwise a word in [`Chosen::how`].
///
/// # Errors
/// [`Error::Images`] when the part is not there or cannot be opened, or its labels cannot be used.
pub fn chosen(place: &str, part: Option<Part>, column: Option<&str>, needed: bool) -> Result<Chosen> {
    let labels_of = |source: &Arc<dyn Source>| match source.labels(column) {
        Err(error) if !needed => Ok((Labels::none(source.len()), format!("; without labels ({error})"))),
        other => other.map(|labels| (labels, String::new())),
    };
    let Some([train, test]) = open_sides(place, None)? else {
        if part == Some(Part::Test) {
            let reason =
                "it has one side, and no images to test on; take all of it, or name the images to test on instead";
            return Err(Error::Images(format!("{}: {reason}", shown(place))));
        }
        let source = open(place)?;
        let ((labels, without), part) = (labels_of(&source)?, part.unwrap_or(Part::All));
        let how = format!("{} images of {}{without}", source.len(), shown(&source.place()));
        return Ok(Chosen { sources: vec![source], labels, part, how });
    };
    let (labels, mut without) = labels_of(&train)?;
    let wanted = part.unwrap_or(Part::Train);
    let how = |source: &Arc<dyn Source>| format!("{} images of {}", source.len(), shown(&source.place()));
    if wanted == Part::Train {
        let other = format!("; its other side, {}, is for `--split test`", how(&test));
        let how = how(&train) + if part.is_none() { &other } else { "" } + &without;
        return Ok(Chosen { sources: vec![train], labels, part: wanted, how });
    }
    let (mut told, of_test) = labels_of(&test)?;
    if !labels.classes().is_empty() && !told.classes().is_empty() {
        let classes = matched((&train.place(), &labels), (&test.place(), &told), |image| test.name(image))?;
        told = told.renumbered(labels.classes(), &classes);
    }
    if wanted == Part::Test {
        let how = how(&test) + &of_test;
        return Ok(Chosen { sources: vec![test], labels: told, part: wanted, how });
    }
    without += &of_test;
    let how = format!("{} and {}{without}", how(&train), how(&test));
    Ok(Chosen { sources: vec![train, test], labels: labels.followed_by(&told), part: wanted, how })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> String {
        format!("{}/tests/fixtures/labels/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    /// The labels of what is chosen, −1 for none, and how many sources there are.
    fn labels(place: &str, part: Option<Part>) -> (Vec<i64>, usize, Part) {
        let Chosen { sources, labels, part, .. } = chosen(place, part, None, true).unwrap();
        assert_eq!(sources.iter().map(|source| source.len()).sum::<usize>(), labels.len());
        ((0..labels.len()).map(|image| labels.of(image).map_or(-1, i64::from)).collect(), sources.len(), part)
    }

    #[test]
    fn a_side_is_chosen_and_its_classes_are_those_of_the_training_side() {
        let folders = fixture("folders");
        let (train, test) = (vec![0, 1, 2, 2, 3], vec![0]);
        assert_eq!(labels(&folders, None), (train.clone(), 1, Part::Train));
        assert_eq!(labels(&folders, Some(Part::Test)), (test.clone(), 1, Part::Test));
        assert_eq!(labels(&folders, Some(Part::All)), ([train, test].concat(), 2, Part::All));
        // The one class of the test side has another number on the training side.
        let folder = tempfile::tempdir().unwrap();
        for name in ["train/a", "train/b", "test/b"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
            image::RgbImage::new(2, 2).save(folder.path().join(name).join("1.png")).unwrap();
        }
        let both = folder.path().to_str().unwrap();
        assert_eq!(labels(both, Some(Part::Test)).0, [1]);
        assert!(chosen(both, None, None, true).unwrap().how.contains("its other side, 1 images of"));
    }

    #[test]
    fn one_side_is_all_there_is() {
        let side = fixture("folders/train");
        assert_eq!(labels(&side, None).2, Part::All);
        assert_eq!(labels(&side, Some(Part::Train)).0.len(), 5);
        let error = chosen(&side, Some(Part::Test), None, true).err().unwrap();
        assert!(error.exit_code() == 3 && error.to_string().contains("it has one side"), "{error}");
    }

    #[test]
    fn labels_that_nobody_needs_are_no_reason_to_refuse_pictures() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pictures", "notes"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        image::RgbImage::new(2, 2).save(folder.path().join("pictures/1.png")).unwrap();
        let place = folder.path().to_str().unwrap();
        let refused = chosen(place, None, None, true).err().unwrap().to_string();
        assert!(refused.contains("the class holds no image"), "{refused}");
        let found = chosen(place, None, None, false).unwrap();
        assert_eq!((found.labels.len(), found.labels.of(0)), (1, None));
        assert!(found.how.contains("without labels ("), "{}", found.how);
    }
}
