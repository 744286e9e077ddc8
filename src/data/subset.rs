//! Some of the images of a collection.

use std::sync::Arc;

use super::PassedOver;
use super::labels::Labels;
use super::source::{Locality, Source, Stored};
use crate::error::Result;

/// Some images of a collection, under numbers of their own.
pub(super) struct Subset {
    source: Arc<dyn Source>,
    /// The number of each in the collection, ascending.
    images: Vec<u32>,
}

impl Subset {
    /// The images of these numbers, which ascend.
    pub(super) fn new(source: Arc<dyn Source>, images: Vec<u32>) -> Subset {
        Subset { source, images }
    }

    fn at(&self, index: usize) -> usize {
        self.images[index] as usize
    }
}

impl Source for Subset {
    fn place(&self) -> String {
        self.source.place()
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn name(&self, index: usize) -> String {
        self.source.name(self.at(index))
    }

    fn read(&self, index: usize) -> Result<Stored, String> {
        self.source.read(self.at(index))
    }

    fn labels(&self, column: Option<&str>) -> Result<Labels> {
        Ok(self.source.labels(column)?.some(&self.images))
    }

    fn folder(&self, index: usize) -> Option<String> {
        self.source.folder(self.at(index))
    }

    fn identify(&self, index: usize, key: &mut Vec<u8>) {
        self.source.identify(self.at(index), key);
    }

    fn passed_over(&self) -> PassedOver {
        self.source.passed_over()
    }

    fn locality(&self) -> Option<Locality> {
        let Locality { runs, window, order } = self.source.locality()?;
        let mut kept = vec![None; self.source.len()];
        self.images.iter().zip(0u32..).for_each(|(&image, number)| kept[image as usize] = Some(number));
        let mut lying = match &order {
            Some(order) => order.iter().map(|&image| kept[image as usize]).collect(),
            None => kept,
        };
        let mut rest = lying.iter();
        let count = |run: usize| rest.by_ref().take(run).filter(|kept| kept.is_some()).count();
        let runs = runs.into_iter().map(count).filter(|&run| run > 0).collect();
        let order = order.map(|_| lying.drain(..).flatten().collect());
        Some(Locality { runs, window, order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lying;

    impl Source for Lying {
        fn place(&self) -> String {
            "lying".into()
        }

        fn len(&self) -> usize {
            6
        }

        fn name(&self, index: usize) -> String {
            format!("image {index}")
        }

        fn read(&self, _index: usize) -> Result<Stored, String> {
            Err("no image".into())
        }

        fn locality(&self) -> Option<Locality> {
            Some(Locality { runs: vec![2, 2, 2], window: 9, order: Some(vec![5, 4, 3, 2, 1, 0]) })
        }
    }

    #[test]
    fn images_keep_their_names_and_lie_as_they_did() {
        let some = Subset::new(Arc::new(Lying), vec![0, 1, 4]);
        assert_eq!((some.len(), some.name(2)), (3, "image 4".into()));
        let expected = Locality { runs: vec![1, 2], window: 9, order: Some(vec![2, 1, 0]) };
        assert_eq!(some.locality(), Some(expected));
    }
}
