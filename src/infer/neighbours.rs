//! Nearest neighbours: how well features tell classes apart, without training anything. As DINO measures it (Caron et al.,
//! 2021): cosines with all training images, the `k` nearest vote, each with weight exp(cosine / 0.07).

/// What the cosines are divided by before the exponential.
pub const TEMPERATURE: f64 = 0.07;

/// Features `[count, width]` and the class of each.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// The features, row by row.
    pub features: &'a [f32],
    /// The classes.
    pub classes: &'a [u32],
}

/// How many of the test images were told right, as shares of all, with `k` neighbours.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Accuracy {
    /// Neighbours asked, at most as many as there are training images.
    pub k: usize,
    /// The class with the highest weighted score is the right one.
    pub top1: f64,
    /// The right one is among the five highest.
    pub top5: f64,
    /// The class of most neighbours is the right one.
    pub majority_top1: f64,
}

/// The neighbours of one test image, the nearest first: cosine and number. Of equal ones the lower number comes first.
type Nearest = Vec<(f32, u32)>;

/// The accuracy on `test` for each `k` of a list.
///
/// # Panics
/// When features and classes differ in number, or one side is empty.
pub fn accuracy(train: Labelled<'_>, test: Labelled<'_>, width: usize, ks: &[usize]) -> Vec<Accuracy> {
    assert!(train.features.len() == train.classes.len() * width && test.features.len() == test.classes.len() * width);
    assert!(!train.classes.is_empty() && !test.classes.is_empty(), "images to compare");
    let classes = 1 + *train.classes.iter().chain(test.classes).max().expect("a class") as usize;
    let ks: Vec<usize> = ks.iter().map(|k| (*k).clamp(1, train.classes.len())).collect();
    let most = *ks.iter().max().expect("a number of neighbours");
    let nearest = nearest(&normalised(train.features, width), &normalised(test.features, width), width, most);
    let of = |k: &usize| {
        let (mut top1, mut top5, mut majority) = (0, 0, 0);
        for (found, class) in nearest.iter().zip(test.classes) {
            let mut scores = vec![0.0; classes];
            let mut votes = vec![0.0; classes];
            for (cosine, image) in &found[..*k] {
                let class = train.classes[*image as usize] as usize;
                scores[class] += (f64::from(*cosine) / TEMPERATURE).exp();
                votes[class] += 1.0;
            }
            top1 += usize::from(rank(&scores, *class) == 0);
            top5 += usize::from(rank(&scores, *class) < 5);
            majority += usize::from(rank(&votes, *class) == 0);
        }
        let share = |count: usize| count as f64 / test.classes.len() as f64;
        Accuracy { k: *k, top1: share(top1), top5: share(top5), majority_top1: share(majority) }
    };
    ks.iter().map(of).collect()
}

/// How many classes stand before this one: those with a higher score, and lower ones with an equal score.
fn rank(scores: &[f64], class: u32) -> usize {
    let own = scores[class as usize];
    let before = |(other, score): &(usize, &f64)| **score > own || (**score == own && *other < class as usize);
    scores.iter().enumerate().filter(before).count()
}

/// Each row divided by its length.
fn normalised(features: &[f32], width: usize) -> Vec<f32> {
    let rows = features.chunks(width).flat_map(|row| {
        let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(1e-12);
        row.iter().map(move |v| (f64::from(*v) / length) as f32)
    });
    rows.collect()
}

/// The `k` nearest training images of each test image, on all processors.
fn nearest(train: &[f32], test: &[f32], width: usize, k: usize) -> Vec<Nearest> {
    let count = test.len() / width;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count);
    let share = count.div_ceil(threads) * width;
    std::thread::scope(|scope| {
        let parts: Vec<_> = test
            .chunks(share)
            .map(|part| {
                scope.spawn(move || part.chunks(width).map(|row| nearest_of(train, row, k)).collect::<Vec<_>>())
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().expect("no panic in a comparison")).collect()
    })
}

fn nearest_of(train: &[f32], row: &[f32], k: usize) -> Nearest {
    let mut all: Nearest = train.chunks(row.len()).zip(0..).map(|(other, image)| (dot(row, other), image)).collect();
    let nearer = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if k < all.len() {
        all.select_nth_unstable_by(k - 1, nearer);
        all.truncate(k);
    }
    all.sort_unstable_by(nearer);
    all
}

/// Eight sums side by side, so that compilers use wide registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0f32; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::tensors;

    /// What DINO's classifier and scikit-learn's made of the same features.
    #[test]
    fn neighbours_scores_and_accuracies_are_those_of_the_reference() {
        let file = tensors::parse(include_bytes!("../../tests/fixtures/classify/knn.safetensors")).unwrap();
        let features = |name: &str| file.f32(name).unwrap().1;
        let integers = |name: &str| file.i64(name).unwrap().1;
        let (train, test) = (features("in/train"), features("in/test"));
        let found = nearest(&normalised(train, 16), &normalised(test, 16), 16, 20);
        let numbers: Vec<i64> = found.iter().flatten().map(|(_, image)| i64::from(*image)).collect();
        assert_eq!(numbers, integers("out/neighbours"));
        let cosines = file.f64("out/cosines").unwrap().1;
        assert!(found.iter().flatten().zip(cosines).all(|((got, _), want)| (f64::from(*got) - want).abs() < 1e-6));
        let classes = |name: &str| integers(name).iter().map(|class| *class as u32).collect::<Vec<_>>();
        let (of_train, of_test) = (classes("in/train_labels"), classes("in/test_labels"));
        let (train, test) =
            (Labelled { features: train, classes: &of_train }, Labelled { features: test, classes: &of_test });
        let [got] = accuracy(train, test, 16, &[20])[..] else { panic!("one k") };
        let want = |name: &str| file.f64(name).unwrap().1[0];
        assert!((got.top1 - want("out/weighted_top1")).abs() < 1e-12, "{got:?}");
        assert!((got.top5 - want("out/weighted_top5")).abs() < 1e-12, "{got:?}");
        assert!((got.majority_top1 - want("out/majority_top1")).abs() < 1e-12, "{got:?}");
        assert_eq!(accuracy(train, test, 16, &[1000])[0].k, 300, "no more neighbours than there are");
    }

    #[test]
    fn of_equal_scores_the_lower_class_comes_first() {
        assert_eq!([0, 1, 2].map(|class| rank(&[1.0, 2.0, 2.0], class)), [2, 0, 1]);
        let same = [1.0, 0.0, 1.0, 0.0];
        assert_eq!(nearest_of(&same, &[1.0, 0.0], 2), [(1.0, 0), (1.0, 1)]);
    }
}
