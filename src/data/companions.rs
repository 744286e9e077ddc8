//! Masks and labels that are stored as images beside the photos they belong to, as WebDataset does it: `KEY.seg.png`
//! under the key of `KEY.jpg`.

#[cfg(not(target_arch = "wasm32"))]
use std::collections::HashSet;

/// What people call such images, without numbers, in lower case.
const WORDS: [&str; 44] = [
    "alpha",
    "ann",
    "anno",
    "annotation",
    "annotations",
    "cls",
    "depth",
    "disp",
    "disparity",
    "edge",
    "edges",
    "flow",
    "gt",
    "gtcoarse",
    "gtfine",
    "groundtruth",
    "heatmap",
    "inst",
    "instance",
    "instances",
    "label",
    "labelmap",
    "labels",
    "lbl",
    "mask",
    "masks",
    "matte",
    "normal",
    "normals",
    "panoptic",
    "parsing",
    "pose",
    "saliency",
    "seg",
    "segm",
    "segmap",
    "segmentation",
    "segs",
    "sem",
    "semantic",
    "semseg",
    "skeleton",
    "target",
    "trimap",
];

/// What [`find`] found among the names of images.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Companions {
    /// The numbers of those that belong to another image, ascending.
    pub(super) masks: Vec<u32>,
    /// How many more are named as if they did (`a_mask.png` beside `a.jpg`), and the number of the first.
    pub(super) doubtful: Option<(usize, u32)>,
}

/// Looks for masks and labels among `count` image files, of which `name` gives the path of each.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn find<'n>(count: usize, name: impl Fn(usize) -> &'n [u8]) -> Companions {
    let numbers = 0..u32::try_from(count).unwrap_or(u32::MAX);
    let of = |number: u32| of(name(number as usize));
    let candidates: Vec<u32> = numbers.clone().filter(|&number| of(number).is_some()).collect();
    let mut found = Companions::default();
    if candidates.is_empty() {
        return found;
    }
    // In the order of the candidates, which ascend.
    let mut next = candidates.iter().peekable();
    let plain = numbers.filter(|number| next.next_if_eq(&number).is_none());
    let stems: HashSet<&[u8]> = plain.map(|number| stem(name(number as usize))).collect();
    for number in candidates {
        match of(number) {
            Some((owner, true)) if stems.contains(owner) => found.masks.push(number),
            Some((owner, false)) if stems.contains(owner) => found.doubtful.get_or_insert((0, number)).0 += 1,
            _ => {}
        }
    }
    found
}

/// The path without ending of the image to which one of this name would belong, and whether that is certain.
pub(super) fn of(name: &[u8]) -> Option<(&[u8], bool)> {
    let file = file_start(name);
    let stem = stem(name);
    let mut dots = (file..stem.len()).filter(|&at| stem[at] == b'.');
    let part = |dot: usize| stem[dot + 1..].split(|&byte| byte == b'.').next().unwrap_or_default();
    let certain = dots.find(|&dot| dot > file && is_word(part(dot)));
    if let Some(dot) = certain {
        return Some((&stem[..dot], true));
    }
    let joint = (file..stem.len()).rev().find(|&at| matches!(stem[at], b'_' | b'-')).filter(|&at| at > file)?;
    is_one(&stem[joint + 1..]).then_some((&stem[..joint], false))
}

/// A path without its ending.
pub(super) fn stem(name: &[u8]) -> &[u8] {
    let file = file_start(name);
    match name[file..].iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 => &name[..file + dot],
        _ => name,
    }
}

fn file_start(name: &[u8]) -> usize {
    name.iter().rposition(|&byte| std::path::is_separator(char::from(byte))).map_or(0, |at| at + 1)
}

/// Whether a part of a name between dots is a label's: one of the words, or several of which one is.
fn is_word(part: &[u8]) -> bool {
    part.split(|byte| matches!(byte, b'_' | b'-')).any(is_one)
}

/// Whether a text is one of the words, perhaps with a number behind it.
fn is_one(text: &[u8]) -> bool {
    let letters = text.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |at| at + 1);
    letters > 0 && WORDS.iter().any(|word| text[..letters].eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    fn masks(names: &[&'static str]) -> (Vec<&'static str>, usize) {
        let found = find(names.len(), |index| names[index].as_bytes());
        (found.masks.iter().map(|&index| names[index as usize]).collect(), found.doubtful.map_or(0, |(count, _)| count))
    }

    #[test]
    fn images_under_the_key_of_a_photo_are_its_masks() {
        let names =
            ["a/0.jpg", "a/0.seg.png", "a/0.instance_mask.png", "a/0.SEG2.color.png", "b/0.seg.png", "1.v2.jpg"];
        assert_eq!(masks(&names), (vec!["a/0.seg.png", "a/0.instance_mask.png", "a/0.SEG2.color.png"], 0));
        assert_eq!(masks(&["1.v2.png", "1.v2.depth.png", "1.depth.png"]).0, ["1.v2.depth.png"]);
    }

    #[test]
    fn other_parts_of_a_name_and_labels_without_a_photo_are_no_masks() {
        for names in [
            &["a.jpg", "a.left.jpg", "a.2.jpg", "a.2024.01.02.jpg", "a.maskless.png"][..],
            &["0.seg.png", "1.seg.png"],
            &["x/0.jpg", "y/0.seg.png", "seg.png", "mask.v2.jpg"],
            &["a.b/0.jpg", "a.seg/0.jpg"],
        ] {
            assert_eq!(masks(names), (vec![], 0), "{names:?}");
        }
        assert_eq!(masks(&["a.jpg", "a_mask.png", "b_mask.png", "c-depth.png", "c.jpg", "_mask.png"]), (vec![], 2));
    }
}
