//! How many of the test images a classifier tells right: by rank, by class, and which classes it takes for which.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a classifier said of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The class with the highest score; of equal ones the lowest.
    pub told: u32,
    /// How many classes stand before the right one: those with a higher score, and lower ones with an equal score.
    pub rank: u32,
}

impl Answer {
    /// The answer that the scores of all classes give for an image of the class `right`.
    pub fn of(scores: impl IntoIterator<Item = f64> + Clone, right: u32) -> Answer {
        let own = scores.clone().into_iter().nth(right as usize).expect("a score for each class");
        let (mut told, mut highest, mut rank) = (0, f64::NEG_INFINITY, 0);
        for (class, score) in (0..).zip(scores) {
            if score > highest {
                (told, highest) = (class, score);
            }
            rank += u32::from(score > own || (score == own && class < right));
        }
        // What is not a number tells nothing apart, and nothing right.
        Answer { told, rank: if own.is_nan() { u32::MAX } else { rank } }
    }
}

/// How many of the images of a class were told right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfClass {
    /// The name of the class.
    pub class: String,
    /// Test images of it.
    pub images: usize,
    /// The share of them that were told right; none without images.
    pub top1: Option<f64>,
}

/// How many of the test images were told right.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The share of all images whose class has the highest score.
    pub top1: f64,
    /// The share of those whose class is among the five highest.
    pub top5: f64,
    /// The same as `top1`, class by class.
    pub classes: Vec<OfClass>,
    /// How many images of a class (the first number) were taken for another (the second).
    confusion: BTreeMap<(u32, u32), u32>,
}

impl Outcome {
    /// The outcome of the answers for images whose classes are `right`, of classes with these names.
    ///
    /// # Panics
    /// When answers and classes differ in number, or there are none.
    pub fn new(names: &[String], answers: &[Answer], right: &[u32]) -> Outcome {
        assert!(answers.len() == right.len() && !right.is_empty(), "an answer for each image");
        let share = |best| answers.iter().filter(|answer| answer.rank < best).count() as f64 / right.len() as f64;
        let (mut images, mut told, mut confusion) = (vec![0; names.len()], vec![0; names.len()], BTreeMap::new());
        for (answer, class) in answers.iter().zip(right) {
            images[*class as usize] += 1;
            told[*class as usize] += usize::from(answer.rank == 0);
            *confusion.entry((*class, answer.told)).or_default() += 1;
        }
        let of_class = |((class, images), told): ((&String, usize), usize)| OfClass {
            class: class.clone(),
            images,
            top1: (images > 0).then(|| told as f64 / images as f64),
        };
        let classes = names.iter().zip(images).zip(told).map(of_class).collect();
        Outcome { top1: share(1), top5: share(5), classes, confusion }
    }

    /// Images of each class (a row) by the class that they were taken for (a column); none where there are more than `most`
    /// classes.
    pub fn confusion(&self, most: usize) -> Option<Vec<Vec<u32>>> {
        let count = self.classes.len();
        (count <= most).then(|| {
            let mut rows = vec![vec![0; count]; count];
            self.confusion.iter().for_each(|((right, told), images)| rows[*right as usize][*told as usize] = *images);
            rows
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_scores_the_lower_class_comes_first() {
        let answers = [0, 1, 2].map(|class| Answer::of([1.0, 2.0, 2.0], class));
        assert_eq!(answers.map(|answer| (answer.told, answer.rank)), [(1, 2), (1, 0), (1, 1)]);
    }

    #[test]
    fn an_outcome_counts_by_class() {
        let names = ["a", "b", "c"].map(String::from);
        let answer = |told, rank| Answer { told, rank };
        let outcome = Outcome::new(&names, &[answer(0, 0), answer(1, 5), answer(0, 4), answer(0, 0)], &[0, 0, 1, 0]);
        assert_eq!((outcome.top1, outcome.top5), (0.5, 0.75));
        let shares: Vec<_> = outcome.classes.iter().map(|of| (of.images, of.top1)).collect();
        assert_eq!(shares, [(3, Some(2.0 / 3.0)), (1, Some(0.0)), (0, None)]);
        assert_eq!(outcome.confusion(3).unwrap(), [[2, 1, 0], [1, 0, 0], [0, 0, 0]]);
        assert_eq!(outcome.confusion(2), None);
    }
}
