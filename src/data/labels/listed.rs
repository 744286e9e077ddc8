//! Names and numbers of classes in files of text and JSON beside images.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Number, Value};

use super::{Labels, Numbered, checked};

/// The longest file of names that is read.
const LONGEST: u64 = 16 << 20;

/// The longest JSON that is read whole; in memory it takes up to thirty times as much.
const LONGEST_JSON: u64 = 4 << 20;

/// The keys under which JSON files list the names of classes.
const KEYS: [&str; 4] = ["classes", "class_names", "label_names", "names"];

/// A file's bytes; none where there is no such file.
///
/// # Errors
/// In words, without the path: it cannot be read, or it has more than `most` bytes.
pub(in crate::data) fn small_file(path: &Path, most: u64) -> Result<Option<Vec<u8>>, String> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        _ => return Ok(None),
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    match bytes.len() as u64 > most {
        true => Err(format!("it has more than {most} bytes, which is no list of so many labels")),
        false => Ok(Some(bytes)),
    }
}

/// The names in a file, one a line; none where there is no such file.
pub(in crate::data) fn names(path: &Path) -> Result<Option<Vec<String>>, String> {
    let Some(bytes) = small_file(path, LONGEST)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_| "it is no text in UTF-8")?;
    let names = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    checked(names).map(Some)
}

/// The names in a JSON file that describes a data set, if it exists and has any: a list of texts under one of `KEYS`,
/// or those of the feature `label`, as Hugging Face writes it.
pub(in crate::data) fn names_in_json(path: &Path) -> Result<Option<Vec<String>>, String> {
    let Some(bytes) = small_file(path, LONGEST_JSON)? else { return Ok(None) };
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| format!("it is damaged JSON: {error}"))?;
    let listed = KEYS.iter().find_map(|key| texts(&value[key]));
    listed.or_else(|| texts(&value["features"]["label"]["names"])).map(checked).transpose()
}

/// The names that Hugging Face's description of a table gives the classes of a column.
pub(in crate::data) fn feature(json: &[u8], column: &str) -> Result<Option<Vec<String>>, String> {
    if json.len() as u64 > LONGEST_JSON {
        return Err(format!("its description `huggingface` has more than {} MiB", LONGEST_JSON >> 20));
    }
    let damaged = |error| format!("its description `huggingface` is damaged JSON: {error}");
    let value: Value = serde_json::from_slice(json).map_err(damaged)?;
    let feature = &value["info"]["features"][column];
    match feature["_type"] == "ClassLabel" {
        true => texts(&feature["names"]).map(checked).transpose(),
        false => Ok(None),
    }
}

/// A list of texts.
fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// A whole number of a JSON file; none for null.
///
/// # Errors
/// In words: it is something else.
pub(super) fn whole(value: Option<&Number>) -> Result<Option<i128>, String> {
    let Some(number) = value else { return Ok(None) };
    let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    whole.map(Some).ok_or_else(|| format!("the label {number} is no whole number"))
}

/// The labels `from` to `to` of a JSON file that is a list of `total` numbers; none where there is no such file.
pub(super) fn numbers(
    path: &Path,
    total: usize,
    range: std::ops::Range<usize>,
    names: Vec<String>,
) -> Result<Option<Labels>, String> {
    // Twenty digits, and a line for each.
    let Some(bytes) = small_file(path, 64 + 24 * total as u64)? else { return Ok(None) };
    let found: Vec<Option<Number>> =
        serde_json::from_slice(&bytes).map_err(|error| format!("it is no list of numbers: {error}"))?;
    if found.len() != total {
        return Err(format!("it has {} labels for {total} images", found.len()));
    }
    let mut labels = Numbered::new(Some(names));
    for (index, number) in range.clone().zip(&found[range]) {
        let pushed = whole(number.as_ref()).and_then(|label| labels.push(label));
        pushed.map_err(|reason| format!("number {index}: {reason}"))?;
    }
    Ok(Some(labels.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lines_or_lists() {
        let folder = tempfile::tempdir().unwrap();
        let at = |text: &[u8]| {
            let path = folder.path().join("file");
            std::fs::write(&path, text).unwrap();
            path
        };
        assert_eq!(names(&at(b"cat\r\nsea lion \n\n")).unwrap().unwrap(), ["cat", "sea lion"]);
        assert!(names(&at(b"cat\n\ndog")).unwrap_err().contains("class 1 has an empty name"));
        assert!(names(&at(&[0xFF])).unwrap_err().contains("UTF-8"));
        assert_eq!(names(&folder.path().join("none")), Ok(None));
        for json in [r#"{"classes": ["b", "a"]}"#, r#"{"features": {"label": {"names": ["b", "a"]}}}"#] {
            assert_eq!(names_in_json(&at(json.as_bytes())).unwrap().unwrap(), ["b", "a"]);
        }
        assert_eq!(names_in_json(&at(br#"{"splits": [], "names": 3}"#)), Ok(None));
        assert!(names_in_json(&at(b"{")).unwrap_err().contains("damaged JSON"));
        assert!(small_file(&at(&[b'1'; 100]), 99).unwrap_err().contains("more than 99 bytes"));
    }
}
