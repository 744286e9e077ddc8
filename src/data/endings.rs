//! Which files are taken for images, to go by their names, and where a name does not tell, by their first bytes.

use super::decode;

/// Names of JPEG files beside those of [`decode::ENDINGS`], as browsers save them.
const MORE: [&str; 4] = ["jfif", "jif", "pjp", "pjpeg"];

/// How many bytes at the start of a file tell whether it is an image.
pub(super) const START: usize = 16;

/// What the name of a file says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// An image.
    Image,
    /// Perhaps an image: a name without an ending, or with something behind an image's (`a.jpg_large`, `a.jpg.1`).
    Perhaps,
    /// Something else.
    Other,
}

/// The endings of files that are taken for images, compared without case.
pub(super) fn all() -> Vec<&'static str> {
    let mut all: Vec<&str> = decode::ENDINGS.into_iter().chain(MORE).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What follows the last dot of a file's name; none where there is no dot, or only one at the start.
pub(super) fn ending(name: &[u8]) -> Option<&[u8]> {
    name.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0).map(|dot| &name[dot + 1..])
}

/// What a file's name, without its folders, says of it.
pub(super) fn named(name: &[u8]) -> Named {
    let Some(last) = ending(name) else { return Named::Perhaps };
    let is_image =
        |text: &[u8]| decode::ENDINGS.iter().chain(&MORE).any(|known| text.eq_ignore_ascii_case(known.as_bytes()));
    if is_image(last) {
        return Named::Image;
    }
    let before = &name[..name.len() - last.len() - 1];
    let numbered = (1..=4).contains(&last.len()) && last.iter().all(u8::is_ascii_digit);
    let letters = last.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(last.len());
    match (numbered && ending(before).is_some_and(is_image)) || (letters < last.len() && is_image(&last[..letters])) {
        true => Named::Perhaps,
        false => Named::Other,
    }
}

/// Whether a file that starts so is in one of the formats that are decoded.
pub(super) fn starts_as_image(start: &[u8]) -> bool {
    match start {
        [0xFF, 0xD8, 0xFF, ..] | [0x89, b'P', b'N', b'G', ..] | [b'G', b'I', b'F', b'8', ..] => true,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => true,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => true,
        // The length of the file stands between, and then two reserved words.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_told_without_case_and_doubtful_ones_apart() {
        let as_told = |names: &[&str], named_so| {
            names.iter().for_each(|name| assert_eq!(named(name.as_bytes()), named_so, "{name}"));
        };
        as_told(
            &["a.jpg", "b.JPEG", "c.jfif", "d.pjpeg", "e.JPE", "f.Tiff", "g.v2.webp", "h.PJP", "i.jif"],
            Named::Image,
        );
        as_told(&["a", "b.jpg_large", "c.jpg.1", "d.png@2x", "e.jpg~", "f.jpg (1)", "g.jpeg:large"], Named::Perhaps);
        as_told(&["a.txt", "b.jpgx", "c.1", "d.jpg.txt", "e.jpg.12345", "f.", "g.jpg.", "h.tar.1"], Named::Other);
        assert!(all().contains(&"jfif") && all().is_sorted());
    }

    #[test]
    fn every_format_is_told_by_its_first_bytes() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pil/kinds");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            assert!(starts_as_image(&bytes[..START]), "{}", path.display());
        }
        for other in
            [&b"BMP is a format"[..], b"\0\0\0\x18ftypheic\0\0\0\0", b"GI", b"", b"%PDF-1.4", b"RIFF\0\0\0\0WAVE"]
        {
            assert!(!starts_as_image(other));
        }
    }
}
