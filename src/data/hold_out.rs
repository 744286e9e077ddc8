//! Which labelled images are held out, to test on what others were learnt from.

use super::labels::Labels;
use crate::rng::Rng;

/// One image in so many of a class is held out.
const SHARE: usize = 10;

/// The labelled images to train on and those held out, ascending: of each class a tenth (rounded, and at least one of
/// two), those of the least hashes of seed and number.
pub(crate) fn hold_out(labels: &Labels, seed: u64) -> [Vec<u32>; 2] {
    let mut left: Vec<usize> = labels.counts();
    left.iter_mut().for_each(|count| *count = if *count < 2 { 0 } else { ((*count + SHARE / 2) / SHARE).max(1) });
    let hash = |image: u32| {
        let hash = blake3::hash(&[seed.to_le_bytes(), u64::from(image).to_le_bytes()].concat());
        *hash.as_bytes().first_chunk::<8>().expect("32 bytes")
    };
    let images = (0..labels.len() as u32).filter_map(|image| Some((hash(image), image, labels.of(image as usize)?)));
    let mut images: Vec<([u8; 8], u32, u32)> = images.collect();
    images.sort_unstable();
    let mut sides = [Vec::new(), Vec::new()];
    for (_, image, class) in images {
        let left = &mut left[class as usize];
        sides[usize::from(*left > 0)].push(image);
        *left = left.saturating_sub(1);
    }
    sides.iter_mut().for_each(|side| side.sort_unstable());
    sides
}

/// Labelled images whose classes are asked for, and those that answer: all numbers ascend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// The images to find neighbours among.
    pub train: Vec<u32>,
    /// The images whose neighbours are found; none where each of `train` is asked for among the others.
    pub test: Vec<u32>,
}

impl Division {
    /// Holds a tenth of each class out, chosen by `seed`, and draws at most so many images to find neighbours among (the
    /// first of `most`) and to test on; where fewer than `least` would be held out, draws among all labelled images and holds
    /// none out. None where the images are not of two classes, or no class has two.
    pub fn of(labels: &Labels, seed: u64, most: [usize; 2], least: usize, rng: &mut Rng) -> Option<Division> {
        let counts = labels.counts();
        if counts.iter().filter(|count| **count > 0).count() < 2 || counts.iter().all(|count| *count < 2) {
            return None;
        }
        let [train, test] = hold_out(labels, seed);
        Some(match test.len() < least {
            true => {
                let all = (0..labels.len() as u32).filter(|image| labels.of(*image as usize).is_some()).collect();
                Division { train: some(all, most[0], rng), test: Vec::new() }
            }
            false => Division { train: some(train, most[0], rng), test: some(test, most[1], rng) },
        })
    }
}

/// At most `most` of the images, drawn at random, ascending.
pub(super) fn some(mut images: Vec<u32>, most: usize, rng: &mut Rng) -> Vec<u32> {
    if images.len() > most {
        rng.shuffle(&mut images);
        images.truncate(most);
        images.sort_unstable();
    }
    images
}

#[cfg(test)]
mod tests {
    use super::super::labels::Numbered;
    use super::*;
    use crate::rng::Stream;

    fn labels(classes: &[i128]) -> Labels {
        let mut labels = Numbered::new(None);
        classes.iter().for_each(|&class| labels.push(Some(class)).unwrap());
        labels.finish()
    }

    #[test]
    fn a_tenth_of_each_class_is_held_out_and_one_of_two() {
        // Of class 0 there are 100 images, of 1 two, of 2 one, of 3 sixteen, and some have none.
        let classes: Vec<i128> = (0..130).map(|n| if n < 100 { 0 } else { [1, 1, 2, -1][n.min(103) - 100] }).collect();
        let classes = [&classes[..], &[3; 16]].concat();
        let all = labels(&classes);
        let [train, test] = hold_out(&all, 7);
        let counts = |images: &[u32]| all.some(images).counts();
        assert_eq!((counts(&train), counts(&test)), (vec![90, 1, 1, 14], vec![10, 1, 0, 2]));
        assert!(train.is_sorted() && test.is_sorted() && train.iter().all(|image| !test.contains(image)));
        assert_eq!(hold_out(&all, 7), [train.clone(), test]);
        assert_ne!(hold_out(&all, 8)[0], train);
    }

    #[test]
    fn a_division_holds_out_where_that_is_enough_and_tells_where_there_is_nothing_to_tell_apart() {
        let divide =
            |labels: &Labels, least| Division::of(labels, 0, [40, 6], least, &mut Rng::new(1, Stream::Evaluate, 0, 0));
        let classes: Vec<i128> = (0..110).map(|n| if n < 100 { n % 2 } else { -1 }).collect();
        let all = labels(&classes);
        let held = divide(&all, 10).unwrap();
        assert_eq!((held.train.len(), held.test.len()), (40, 6));
        assert!(held.train.is_sorted() && held.test.is_sorted() && held.test.iter().all(|n| !held.train.contains(n)));
        let others = divide(&all, 11).unwrap();
        assert_eq!((others.train.len(), others.test.len()), (40, 0));
        assert!(
            others.train.is_sorted() && others.train.iter().all(|n| *n < 100),
            "those without a label are left out"
        );
        assert_eq!(divide(&labels(&[0, 1, 1]), 1).unwrap().train.len(), 2);
        for nothing in [&[0, 0, 0][..], &[0, 1, 2], &[-1, -1], &[0]] {
            assert_eq!(divide(&labels(nothing), 1), None, "{nothing:?}");
        }
    }
}
