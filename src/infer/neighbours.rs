//! Nearest neighbours: how well features tell classes apart, without training anything. As DINO measures it (Caron et al.,
//! 2021): cosines with all training images, the `k` nearest vote, each with weight exp(cosine / 0.07).

use super::{
    accuracy::Answer,
    products::{View, in_parallel, multiply},
    sets::{Set, Sets},
};

/// What the cosines are divided by before the exponential.
pub const TEMPERATURE: f64 = 0.07;

/// Test images that are compared together.
const QUERIES: usize = 64;

/// Training images that they are compared with at a time: the cosines stay in a near cache.
const KEYS: usize = 1024;

/// The neighbours of one test image, the nearest first: cosine and number. Of equal ones the lower number comes first.
pub type Nearest = Vec<(f32, u32)>;

/// What the votes of the nearest say of each test image.
#[derive(Clone, Debug, PartialEq)]
pub struct Votes {
    /// Neighbours asked, at most as many as there are training images.
    pub k: usize,
    /// With votes weighted by exp(cosine / [`TEMPERATURE`]).
    pub weighted: Vec<Answer>,
    /// With each vote counted once.
    pub majority: Vec<Answer>,
}

/// The nearest training images of each test image, `k` of them or all.
pub fn nearest(sets: &Sets, k: usize) -> Vec<Nearest> {
    let (width, k) = (sets.width, k.min(sets.train.len()));
    let (train, test) = (normalised(&sets.train, width), normalised(&sets.test, width));
    let queries: Vec<&[f32]> = test.chunks(QUERIES * width).collect();
    let found = in_parallel(queries.len(), |number| {
        let queries = queries[number];
        let mut found = vec![Nearest::with_capacity(k + 1); queries.len() / width];
        let mut cosines = vec![0.0; found.len() * KEYS];
        for (part, keys) in train.chunks(KEYS * width).enumerate() {
            let count = keys.len() / width;
            let cosines = &mut cosines[..found.len() * count];
            multiply(View::new(queries, width), View::new(keys, width).transposed(), false, cosines);
            for (found, cosines) in found.iter_mut().zip(cosines.chunks(count)) {
                for (cosine, image) in cosines.iter().zip((part * KEYS) as u32..) {
                    keep(found, k, *cosine, image);
                }
            }
        }
        found
    });
    found.into_iter().flatten().collect()
}

/// Takes an image in if it is nearer than the furthest of the `k` that are kept. Images come in the order of their numbers.
fn keep(found: &mut Nearest, k: usize, cosine: f32, image: u32) {
    if found.len() == k && found.last().is_some_and(|(furthest, _)| cosine <= *furthest) {
        return;
    }
    let at = found.partition_point(|(other, _)| *other >= cosine);
    found.insert(at, (cosine, image));
    found.truncate(k);
}

/// The scores of all classes by the `k` nearest of `found`: weighted, and each neighbour counted once.
pub fn scores(sets: &Sets, found: &[(f32, u32)], k: usize) -> [Vec<f64>; 2] {
    let mut scores = [(); 2].map(|()| vec![0.0; sets.classes.len()]);
    for (cosine, image) in &found[..k] {
        let class = sets.train.classes[*image as usize] as usize;
        scores[0][class] += (f64::from(*cosine) / TEMPERATURE).exp();
        scores[1][class] += 1.0;
    }
    scores
}

/// What the nearest neighbours say of the test images, for each number of neighbours of a list.
pub fn vote(sets: &Sets, ks: &[usize]) -> Vec<Votes> {
    let ks: Vec<usize> = ks.iter().map(|k| (*k).clamp(1, sets.train.len())).collect();
    let nearest = nearest(sets, ks.iter().copied().max().unwrap_or(1));
    ks.iter().map(|k| count(sets, &nearest, *k)).collect()
}

/// What the `k` nearest of the others say of each training image; what there is to test on is not looked at.
///
/// # Panics
/// With fewer than two training images.
pub fn leave_one_out(sets: &Sets, k: usize) -> Votes {
    assert!(sets.train.len() > 1, "an image and another");
    let k = k.clamp(1, sets.train.len() - 1);
    let sets = Sets { test: sets.train.clone(), ..sets.clone() };
    let mut found = nearest(&sets, k + 1);
    found.iter_mut().zip(0..).for_each(|(found, own)| found.retain(|(_, image)| *image != own));
    count(&sets, &found, k)
}

/// The votes of the `k` nearest of each test image.
fn count(sets: &Sets, nearest: &[Nearest], k: usize) -> Votes {
    let answers = in_parallel(nearest.len(), |image| {
        let right = sets.test.classes[image];
        scores(sets, &nearest[image], k).map(|scores| Answer::of(scores.iter().copied(), right))
    });
    let (weighted, majority) = answers.into_iter().map(|[weighted, majority]| (weighted, majority)).unzip();
    Votes { k, weighted, majority }
}

/// Each row divided by its length.
fn normalised(set: &Set, width: usize) -> Vec<f32> {
    let rows = set.values.chunks(width).flat_map(|row| {
        let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(1e-12);
        row.iter().map(move |v| (f64::from(*v) / length) as f32)
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(train: &[f32], of_train: &[u32], test: &[f32], of_test: &[u32]) -> Sets {
        let set = |values: &[f32], classes: &[u32]| Set { values: values.to_vec(), classes: classes.to_vec() };
        Sets {
            classes: ["a", "b"].map(String::from).to_vec(),
            width: 2,
            train: set(train, of_train),
            test: set(test, of_test),
            ..Sets::default()
        }
    }

    #[test]
    fn of_equally_near_images_the_first_come_first() {
        // Every seventh of 3,000 is the same as the one asked for, the others point elsewhere.
        let train: Vec<f32> = (0..3000).flat_map(|n| if n % 7 == 0 { [2.0, 0.0] } else { [1.0, 1.0] }).collect();
        let sets = sets(&train, &[0; 3000], &[3.0, 0.0], &[0]);
        let expected: Vec<_> = (0..300u32).map(|n| (1.0, n * 7)).collect();
        assert_eq!(nearest(&sets, 300), [expected]);
    }

    #[test]
    fn the_nearer_of_two_classes_wins_by_weight_and_the_more_by_majority() {
        let train = [1.0, 0.0, 0.0, 1.0, 0.1, 1.0];
        let sets = sets(&train, &[0, 1, 1], &[1.0, 0.1], &[0]);
        let [votes] = &vote(&sets, &[99])[..] else { panic!("one k") };
        assert_eq!(votes.k, 3, "no more neighbours than there are");
        assert_eq!((votes.weighted[0].told, votes.majority[0].told, votes.majority[0].rank), (0, 1, 1));
    }

    #[test]
    fn left_out_an_image_does_not_vote_for_itself() {
        // Two pairs that point the same way, of which the second differs in class.
        let train = [1.0, 0.0, 2.0, 0.0, 0.0, 1.0, 0.0, 3.0];
        let sets = sets(&train, &[0, 0, 0, 1], &[], &[]);
        let told = |k| leave_one_out(&sets, k).weighted.iter().map(|answer| answer.told).collect::<Vec<_>>();
        assert_eq!(told(1), [0, 0, 1, 0]);
        assert_eq!(leave_one_out(&sets, 99).k, 3, "no more neighbours than there are others");
        // Of more alike than are asked, none is the image itself.
        let same = self::sets(&[1.0; 8], &[0, 1, 1, 1], &[], &[]);
        assert_eq!(leave_one_out(&same, 1).weighted.iter().map(|answer| answer.told).collect::<Vec<_>>(), [1, 0, 0, 0]);
    }
}
