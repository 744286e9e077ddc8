//! What a collection was when a run began: which images had which numbers.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::source::Source;
use crate::text::shown;

/// How many parts of a collection are told apart at most, nearly.
const PARTS: usize = 1024;

/// Names in a message.
const NAMED: usize = 3;

/// Hexadecimal digits of a part's hash: it only says where a difference is.
const DIGITS: usize = 8;

/// The number of images of a collection and hashes of their names in order. Names are paths below the innermost folder
/// that holds all of the collection, so that it may be moved, or put into an archive. Contents are not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    /// How many images there are.
    pub images: usize,
    /// BLAKE3 hash of all names in hexadecimal.
    pub blake3: String,
    /// How many images are in a part.
    part: usize,
    /// The first digits of the hash of each part's names.
    parts: String,
}

impl Collection {
    /// What `source` is.
    pub fn of(source: &dyn Source) -> Collection {
        Collection::in_parts(source, source.len().div_ceil(PARTS).next_power_of_two())
    }

    fn in_parts(source: &dyn Source, part: usize) -> Collection {
        let (images, part) = (source.len(), part.max(1));
        let (mut first, mut key) = (Vec::new(), Vec::new());
        let mut common = 0;
        for index in 0..images {
            key.clear();
            source.identify(index, &mut key);
            match index {
                0 => {
                    common = key.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
                    first.clone_from(&key);
                }
                _ if key.starts_with(&first[..common]) => {}
                _ => {
                    let same = first.iter().zip(&key).take_while(|(a, b)| a == b).count();
                    common = first[..same.min(common)].iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
                }
            }
        }
        let (mut all, mut parts) = (blake3::Hasher::new(), String::new());
        for start in (0..images).step_by(part) {
            let mut hasher = blake3::Hasher::new();
            for index in start..images.min(start.saturating_add(part)) {
                key.clear();
                source.identify(index, &mut key);
                let name = &key[common..];
                hasher.update(&(name.len() as u64).to_le_bytes());
                hasher.update(name);
            }
            let hash = hasher.finalize();
            all.update(hash.as_bytes());
            parts.push_str(&hash.to_hex()[..DIGITS]);
        }
        Collection { images, blake3: all.finalize().to_hex().to_string(), part, parts }
    }

    /// What is different in `source`, in words; none where its images are the same under the same numbers.
    pub fn difference(&self, source: &dyn Source) -> Option<String> {
        let now = Collection::in_parts(source, self.part);
        if (self.images, &self.blake3) == (now.images, &now.blake3) {
            return None;
        }
        let mut told = format!("{} images where there were {}", now.images, self.images);
        if now.images == self.images {
            told = format!("{} images as before, but others or in another order", now.images);
        }
        let parts = |of: &Collection| -> Vec<[u8; DIGITS]> { of.parts.as_bytes().as_chunks::<DIGITS>().0.to_vec() };
        let (was, is) = (parts(self), parts(&now));
        let name = |index: usize| shown(&source.name(index)).into_owned();
        if self.part == 1 {
            let mut left: HashMap<[u8; DIGITS], usize> = HashMap::new();
            was.iter().for_each(|hash| *left.entry(*hash).or_default() += 1);
            let is_new = |hash| match left.get_mut(hash).filter(|count| **count > 0) {
                Some(count) => {
                    *count -= 1;
                    false
                }
                None => true,
            };
            let mut is_new = is_new;
            let new: Vec<usize> = (0..is.len()).filter(|&index| is_new(&is[index])).collect();
            let gone: usize = left.values().sum();
            if !new.is_empty() {
                let named: Vec<String> = new.iter().take(NAMED).map(|&index| name(index)).collect();
                let more = if new.len() > NAMED { ", …" } else { "" };
                told.push_str(&format!("; {} new: {}{more}", new.len(), named.join(", ")));
            }
            if gone > 0 {
                told.push_str(&format!("; {gone} gone"));
            }
        }
        match was.iter().zip(&is).position(|(a, b)| a != b).map(|part| part * self.part) {
            Some(start) if self.part == 1 => told.push_str(&format!("; the first that differs is {}", name(start))),
            Some(start) => {
                let end = now.images.min(start + self.part) - 1;
                told.push_str(&format!("; the first that differs is among {} to {}", name(start), name(end)));
            }
            None => {}
        }
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stored;
    use super::*;

    struct Named(Vec<String>);

    impl Source for Named {
        fn place(&self) -> String {
            "names".into()
        }

        fn len(&self) -> usize {
            self.0.len()
        }

        fn name(&self, index: usize) -> String {
            self.0[index].clone()
        }

        fn read(&self, _index: usize) -> Result<Stored, String> {
            Err("no images".into())
        }
    }

    fn named(names: &[&str]) -> Named {
        Named(names.iter().map(|name| name.to_string()).collect())
    }

    fn numbered(count: usize, place: &str) -> Named {
        Named((0..count).map(|number| format!("{place}/{number:06}.png")).collect())
    }

    #[test]
    fn a_collection_may_move() {
        let here = Collection::of(&named(&["a/b/1.png", "a/b/c/2.png", "a/b/c/3.png"]));
        assert_eq!(here.difference(&named(&["x/1.png", "x/c/2.png", "x/c/3.png"])), None);
        assert_eq!(here.difference(&named(&["1.png", "c/2.png", "c/3.png"])), None);
        assert!(here.difference(&named(&["1.png", "d/2.png", "d/3.png"])).is_some());
        // Common beginnings of names are no folders.
        assert_eq!(Collection::of(&named(&["a/12", "a/13"])).difference(&named(&["12", "13"])), None);
        assert!(Collection::of(&named(&["a/12", "a/13"])).difference(&named(&["2", "3"])).is_some());
        assert_eq!(Collection::of(&named(&[])).difference(&named(&[])), None);
    }

    #[test]
    fn what_came_and_went_is_told() {
        let was = Collection::of(&named(&["a.png", "b.png", "c.png"]));
        let told = |names: &[&str]| was.difference(&named(names)).unwrap();
        assert_eq!(
            told(&["a.png", "b\n.png", "b.png", "c.png"]),
            r"4 images where there were 3; 1 new: b\n.png; the first that differs is b\n.png"
        );
        assert_eq!(told(&["a.png", "b.png"]), "2 images where there were 3; 1 gone");
        assert!(told(&["a.png", "bb.png", "c.png"]).contains("3 images as before, but others"));
        assert!(
            told(&["a.png", "bb.png", "c.png"]).contains("1 new: bb.png; 1 gone; the first that differs is bb.png")
        );
        assert!(told(&["b.png", "a.png", "c.png"]).ends_with("another order; the first that differs is b.png"));
    }

    #[test]
    fn large_collections_are_told_apart_in_few_parts() {
        let was = Collection::of(&numbered(5000, "a"));
        assert!(was.part == 8 && was.parts.len() == 625 * DIGITS, "{was:?}");
        assert_eq!(was.difference(&numbered(5000, "b")), None);
        let mut other = numbered(5000, "a");
        other.0[4321] = "a/other.png".into();
        let told = was.difference(&other).unwrap();
        assert!(told.ends_with("among a/004320.png to a/004327.png"), "{told}");
        assert!(was.difference(&numbered(9000, "a")).unwrap().starts_with("9000 images where there were 5000"));
        let json = serde_json::to_string(&was).unwrap();
        assert!(json.len() < 6000 && serde_json::from_str::<Collection>(&json).unwrap() == was);
        // What a damaged state may hold.
        for damaged in [
            r#"{"images":1,"blake3":"","part":0,"parts":"ä"}"#,
            r#"{"images":9,"blake3":"x","part":1,"parts":"é23456789"}"#,
        ] {
            let damaged: Collection = serde_json::from_str(damaged).unwrap();
            assert!(damaged.difference(&numbered(3, "a")).is_some());
        }
    }
}
