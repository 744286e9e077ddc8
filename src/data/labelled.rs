//! Images with classes to train a classifier on, and others to test it on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::hold_out::{hold_out, some};
use super::labels::{Classes, Labels, refuse};
use super::open::open_beside;
use super::sides::open_sides;
use super::source::Source;
use super::subset::Subset;
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::text::shown;

/// How [`labelled`] finds images and their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelOptions {
    /// What to test on; none to find it beside what to train on, or else to hold a tenth of that out.
    pub test: Option<String>,
    /// Which labels, where there are several: a column of parquet files, `coarse` of CIFAR-100.
    pub column: Option<String>,
    /// Decides which images are held out.
    pub seed: u64,
    /// A folder that a run writes into, which is no part of the images.
    pub run: Option<PathBuf>,
}

/// Images that all have a class.
pub struct Side {
    /// The images.
    pub source: Arc<dyn Source>,
    /// The class of each.
    pub labels: Vec<u32>,
}

impl Side {
    /// The classes of some images, such as [`Batch::shown`](super::Batch::shown): those that are really in a batch.
    ///
    /// # Panics
    /// When there is no image of such a number.
    pub fn classes_of(&self, images: &[usize]) -> Vec<u32> {
        images.iter().map(|&image| self.labels[image]).collect()
    }

    /// At most `most` of the images, drawn at random, in their order.
    pub fn some(self, most: usize, rng: &mut Rng) -> Side {
        if self.labels.len() <= most {
            return self;
        }
        let images = some((0..self.labels.len() as u32).collect(), most, rng);
        let labels = images.iter().map(|image| self.labels[*image as usize]).collect();
        Side { source: Arc::new(Subset::new(self.source, images)), labels }
    }

    /// How many images there are of each of `classes` classes.
    fn counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        self.labels.iter().for_each(|&class| counts[class as usize] += 1);
        counts
    }
}

/// What [`labelled`] found.
pub struct Labelled {
    /// The classes of both sides, in the order of the training side.
    pub classes: Classes,
    /// What to train on.
    pub train: Side,
    /// What to test on; no image of it is one of `train`.
    pub test: Side,
    /// Whether `test` was held out of what `train` was part of.
    pub held_out: bool,
    /// What was chosen, in words: both sides with their counts, the number of classes, and what was left out.
    pub how: String,
}

/// Opens the two sides of `place`, which is named as [`open`](super::open()) takes it, and reads their labels. If `place` has a side to
/// test on, that is taken unless the options name another; one that has none, or has one without labels, has a tenth of
/// each class held out (at least one image of a class that has two), chosen by the hash of seed and image number.
/// Images without a label are left out.
///
/// # Errors
/// [`Error::Images`] when a side cannot be opened, when its labels are missing or cannot be used, or when a class of the
/// test side has no image to train on.
pub fn labelled(place: &str, options: &LabelOptions) -> Result<Labelled> {
    let column = options.column.as_deref();
    let (run, given) = (options.run.as_deref(), options.test.as_deref());
    let (train, beside) = match open_sides(place, run)? {
        Some([train, test]) => (train, Some(test)),
        None if given == Some(place) => {
            return Err(Error::Images(format!("{} is both to train and to test on; name two", shown(place))));
        }
        None => (open_beside(place, run)?, None),
    };
    let labels = train.labels(column)?;
    if labels.classes().is_empty() {
        let reason = "no image has a label; put images into a folder for each class, or give labels beside them";
        return Err(refuse(&train.place(), reason));
    }
    let test = match given {
        Some(given) => Some(open_sides(given, run)?.map_or_else(|| open_beside(given, run), |[_, test]| Ok(test))?),
        None => beside,
    };
    let tested = test.map(|test| Ok::<_, Error>((test.labels(column)?, test))).transpose()?;
    match tested {
        Some((told, test)) if !told.classes().is_empty() => {
            let classes = matched((&train.place(), &labels), (&test.place(), &told), |image| test.name(image))?;
            let told = |index| told.of(index).map(|class| classes[class as usize]);
            let sides = [side(train, |index| labels.of(index)), side(test, told)];
            Ok(finish(labels.classes(), sides, None))
        }
        Some((_, test)) if given.is_some() => Err(refuse(&test.place(), "no image to test on has a label")),
        unlabelled => {
            let sides = hold_out(&labels, options.seed);
            let place = train.place();
            let why = unlabelled
                .map_or_else(String::new, |(_, test)| format!(", since {} has no labels", shown(&test.place())));
            if sides[1].is_empty() {
                return Err(refuse(&place, "no class has two images, of which one could be held out to test on"));
            }
            let sides = sides.map(|images| Side {
                labels: images.iter().filter_map(|&image| labels.of(image as usize)).collect(),
                source: Arc::new(Subset::new(train.clone(), images)),
            });
            let how = format!("; a tenth of each class was held out by the seed {}{why}", options.seed);
            Ok(finish(labels.classes(), sides, Some(how)))
        }
    }
}

fn finish(classes: &Classes, [train, test]: [Side; 2], held: Option<String>) -> Labelled {
    let told = |side: &Side| format!("{} images of {}", side.labels.len(), shown(&side.source.place()));
    let of = train.counts(classes.len()).iter().filter(|&&count| count > 0).count();
    let how = format!("{} to train on, {} to test on, {of} classes", told(&train), told(&test));
    let (held_out, how) = (held.is_some(), how + &held.unwrap_or_default());
    Labelled { classes: classes.clone(), train, test, held_out, how }
}

/// The images of a source that `class` gives a class.
fn side(source: Arc<dyn Source>, class: impl Fn(usize) -> Option<u32>) -> Side {
    let all = 0..source.len() as u32;
    let images: Vec<u32> = all.filter(|&image| class(image as usize).is_some()).collect();
    let labels = images.iter().filter_map(|&image| class(image as usize)).collect();
    match images.len() == source.len() {
        true => Side { source, labels },
        false => Side { source: Arc::new(Subset::new(source, images)), labels },
    }
}

/// The number in training of each class of the test side: that of the class of its name. Either side has a place, as a
/// message names it, and `name` says what to call an image of the test side.
///
/// # Errors
/// [`Error::Images`] when one side has names and the other numbers, or a class of the test side has no image to train on.
pub(crate) fn matched(
    (train, labels): (&str, &Labels),
    (test, told): (&str, &Labels),
    name: impl Fn(usize) -> String,
) -> Result<Vec<u32>> {
    let numbers: Vec<Option<usize>> = match (labels.classes(), told.classes()) {
        (Classes::Names(known), Classes::Names(names)) => {
            let known: HashMap<&str, usize> = known.iter().map(String::as_str).zip(0..).collect();
            names.iter().map(|name| known.get(name.as_str()).copied()).collect()
        }
        (Classes::Numbers(known), Classes::Numbers(count)) => (0..*count).map(|n| (n < *known).then_some(n)).collect(),
        (classes, _) => {
            let (has, had) =
                if matches!(classes, Classes::Names(_)) { ("numbers", "names") } else { ("names", "numbers") };
            return Err(refuse(test, &format!("its classes have {has} and those of {} have {had}", shown(train))));
        }
    };
    let (counts, tested) = (labels.counts(), told.counts());
    let known = |number: &Option<usize>| number.is_some_and(|number| counts[number] > 0);
    let alien = numbers.iter().zip(&tested).position(|(number, &images)| images > 0 && !known(number));
    match alien {
        Some(class) => {
            let first = (0..told.len()).find(|&image| told.of(image) == Some(class as u32)).unwrap_or_default();
            let (class, image) = (told.classes().name(class), name(first));
            let reason = format!("the class `{class}` (such as {image}) has no image to train on in {}", shown(train));
            Err(refuse(test, &reason))
        }
        // Classes without an image are asked for by nobody.
        None => Ok(numbers.into_iter().map(|number| number.unwrap_or_default() as u32).collect()),
    }
}
