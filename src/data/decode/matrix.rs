//! The matrix of formats, sample types, alpha, layouts and places of orientation: each file decodes to the picture that
//! is right for it, or is refused with the right words.

use std::collections::BTreeMap;
use std::path::Path;

use super::{decode, decode_bytes};

/// How far a value may be from what is right.
const ALLOWED: u8 = 2;

#[test]
fn every_layout_decodes_as_in_pillow_or_is_refused_for_what_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pil");
    let listed = std::fs::read_to_string(folder.join("matrix.json")).unwrap();
    let listed: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&listed).unwrap();
    let mut wrong = Vec::new();
    for (name, right) in &listed {
        let found = decode_bytes(&std::fs::read(folder.join("matrix").join(name)).unwrap());
        let problem = match (found, right.get("right"), right.get("refused")) {
            (Err(reason), _, Some(words)) if reason.contains(words) => None,
            (Err(reason), ..) => Some(format!("refused: {reason}")),
            (Ok(decoded), Some(picture), _) => {
                let picture = decode(&folder.join("matrix/right").join(picture), 3).unwrap();
                let found = decoded.picture.with_channels(3);
                let differences = found.pixels.iter().zip(&picture.pixels).map(|(a, b)| a.abs_diff(*b));
                match differences.max() {
                    _ if (found.height, found.width) != (picture.height, picture.width) => {
                        Some(format!("{}×{}", found.width, found.height))
                    }
                    worst => worst.filter(|&worst| worst > ALLOWED).map(|worst| format!("differs by {worst}")),
                }
            }
            (Ok(_), ..) => Some("taken".into()),
        };
        wrong.extend(problem.map(|problem| format!("{name} ({right:?}): {problem}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let files = std::fs::read_dir(folder.join("matrix")).unwrap().count() - 1;
    assert!(files == listed.len() && files > 350, "{files} files, {} listed", listed.len());
}
