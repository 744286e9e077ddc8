//! Two sets of features with classes: one to learn from, one to be tested on.

use std::collections::BTreeMap;

#[cfg(not(target_arch = "wasm32"))]
use super::features::Features;
use crate::data::{Labels, hold_out};
#[cfg(not(target_arch = "wasm32"))]
use crate::{
    data::{Classes, matched},
    error::{Error, Result},
    text::shown,
};

/// Features `[images, width]` and the class of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    /// The features, row by row.
    pub values: Vec<f32>,
    /// The classes.
    pub classes: Vec<u32>,
}

impl Set {
    /// How many images there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Some of the images, features having `width` values.
    pub fn some(&self, width: usize, images: &[u32]) -> Set {
        let row = |image: &u32| &self.values[*image as usize * width..][..width];
        Set {
            values: images.iter().flat_map(row).copied().collect(),
            classes: images.iter().map(|image| self.classes[*image as usize]).collect(),
        }
    }
}

/// Features to train on and to test on, of the same classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sets {
    /// The names of the classes, all of which have images to train on.
    pub classes: Vec<String>,
    /// Values of a feature.
    pub width: usize,
    /// What to train on.
    pub train: Set,
    /// What to test on.
    pub test: Set,
    /// How the features were made.
    pub about: BTreeMap<String, String>,
    /// What the two are, in words.
    pub how: String,
}

impl Sets {
    /// The images to train on, divided for the choice of a setting: a tenth of each class is held out, chosen by the seed.
    /// None where no class has two images.
    pub fn within(&self, seed: u64) -> Option<Sets> {
        let labels = Labels::new(None, self.train.classes.iter().map(|class| i64::from(*class))).ok()?;
        let [train, test] = hold_out(&labels, seed).map(|images| self.train.some(self.width, &images));
        let (classes, width) = (self.classes.clone(), self.width);
        (!test.is_empty()).then(|| Sets { classes, width, train, test, ..Sets::default() })
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Sets {
    /// Features to train on and features to test on. Classes have the order of `train`; those of `test` are matched by name.
    /// Images without a label are left out.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the two were not made alike; [`Error::Images`] where one has no labels, all images are of
    /// one class, a class has a name but no image to train on, or one of `test` is unknown to `train`.
    pub fn pair(train: &Features, test: &Features) -> Result<Sets> {
        if let Some(reason) = test.differs(train) {
            return Err(Error::checkpoint(&test.place, reason));
        }
        for side in [train, test] {
            if side.labels.unlabelled() == side.len() {
                return Err(refuse(&side.place, "no image of it has a label"));
            }
        }
        let numbers =
            matched((&train.place, &train.labels), (&test.place, &test.labels), |image| match test.names.get(image) {
                Some(name) => name.clone(),
                None => format!("row {image}"),
            })?;
        Sets::of(train, &train.labels, test, &test.labels.renumbered(train.labels.classes(), &numbers))
    }

    /// Features of which a tenth of each class, chosen by the seed, is to be tested on and the rest to be trained on.
    ///
    /// # Errors
    /// [`Error::Images`] as [`Sets::pair`], and where no class has two images.
    pub fn divided(all: &Features, seed: u64) -> Result<Sets> {
        if all.labels.unlabelled() == all.len() {
            return Err(refuse(&all.place, "no image of it has a label"));
        }
        let [train, test] = hold_out(&all.labels, seed).map(|images| all.labels.only(&images));
        if test.unlabelled() == test.len() {
            return Err(refuse(&all.place, "no class has two images, of which one could be held out to test on"));
        }
        let sets = Sets::of(all, &train, all, &test)?;
        let how = format!("{}; a tenth of each class was held out by the seed {seed}", sets.how);
        Ok(Sets { how, ..sets })
    }

    fn of(train: &Features, labels: &Labels, test: &Features, told: &Labels) -> Result<Sets> {
        let (classes, counts) = (labels.classes(), labels.counts());
        check_classes(&train.place, classes, &counts)?;
        // Numbers that no image has are no classes.
        let (mut dense, mut names) = (vec![0; counts.len()], Vec::new());
        for class in (0..counts.len()).filter(|class| counts[*class] > 0) {
            dense[class] = names.len() as u32;
            names.push(classes.name(class));
        }
        let set = |of: &Features, labels: &Labels| {
            let classes = (0..of.len()).filter_map(|image| Some(dense[labels.of(image)? as usize])).collect();
            let rows = of.values.chunks(of.width).enumerate().filter(|(image, _)| labels.of(*image).is_some());
            Set { values: rows.flat_map(|(_, row)| row).copied().collect(), classes }
        };
        let (set_of_train, set_of_test) = (set(train, labels), set(test, told));
        let how = format!(
            "{} images of {} to train on, {} of {} to test on, {} classes",
            set_of_train.len(),
            shown(&train.place),
            set_of_test.len(),
            shown(&test.place),
            names.len()
        );
        let mut about = train.about.clone();
        about.retain(|key, _| !["classes", "format", "source", "split"].contains(&key.as_str()));
        Ok(Sets { classes: names, width: train.width, train: set_of_train, test: set_of_test, about, how })
    }
}

/// Refuses classes that no classifier can be trained on, `counts` being how many images to train on each has.
///
/// # Errors
/// [`Error::Images`] where a class has a name but no image, or all images are of one class.
#[cfg(not(target_arch = "wasm32"))]
pub fn check_classes(place: &str, classes: &Classes, counts: &[usize]) -> Result<()> {
    if let (Classes::Names(names), Some(class)) = (classes, counts.iter().position(|count| *count == 0)) {
        let missing = counts.iter().filter(|count| **count == 0).count();
        let more = if missing > 1 { format!(", and neither have {} others", missing - 1) } else { String::new() };
        let reason = format!("the class `{}` has no image to train on{more}; leave its name out", names[class]);
        return Err(refuse(place, &reason));
    }
    let held: Vec<usize> = (0..counts.len()).filter(|class| counts[*class] > 0).collect();
    match held[..] {
        [class] => {
            let name = classes.name(class);
            Err(refuse(place, &format!("all images to train on are of one class, `{name}`; at least two are needed")))
        }
        _ => Ok(()),
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn refuse(place: &str, reason: &str) -> Error {
    Error::Images(format!("{}: {}", shown(place), shown(reason)))
}
