//! Paths that stand for several files.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::text::{shown, shown_path};

/// How many files one specification may name.
const MOST: usize = 100_000;

/// The files that `spec` names, in order. A file of exactly that name wins over what its braces and stars mean.
pub(super) fn expand(spec: &str) -> Result<Vec<PathBuf>> {
    if Path::new(spec).exists() {
        return Ok(vec![spec.into()]);
    }
    let mut paths = Vec::new();
    for path in braces(spec).map_err(|reason| Error::Images(format!("{}: {reason}", shown(spec))))? {
        match Path::new(&path).file_name().and_then(|name| name.to_str()) {
            Some(pattern) if pattern.contains(['*', '?']) => paths.extend(matching(Path::new(&path), pattern)?),
            _ => paths.push(path.into()),
        }
    }
    for path in &paths {
        if let Err(error) = std::fs::metadata(path) {
            return Err(Error::Images(format!("{}: {error}; check the path of the images", shown_path(path))));
        }
    }
    Ok(paths)
}

/// The files in a folder whose names match, sorted.
fn matching(path: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let refuse = |error| Error::Images(format!("{}: {error}; check the path of the images", shown_path(folder)));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| !name.starts_with('.') && matches(pattern.as_bytes(), name.as_bytes())) {
            found.push(path);
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(Error::Images(format!("no file in {} is named like {}", shown_path(folder), shown(pattern)))),
        false => Ok(found),
    }
}

/// Whether a name matches a pattern in which `*` is any text and `?` any one byte.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&c) if c == b'?' || c == name[from] => (at, from) = (at + 1, from + 1),
            // The last star takes one byte more.
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (at, from) = (place + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&c| c == b'*')
}

/// `spec` with each `{a,b}` and `{000..012}` written out, the first brace varying slowest.
fn braces(spec: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = spec.split_once('{') else { return Ok(vec![spec.into()]) };
    let (inside, after) = rest.split_once('}').ok_or("a brace is not closed")?;
    let middles: Vec<String> = match inside.split_once("..") {
        Some((first, last)) => {
            let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} in braces is no number"));
            let (from, to) = (number(first)?, number(last)?);
            if from > to || to - from >= MOST as u64 {
                return Err(format!("{{{inside}}} is no range of at most {MOST} files"));
            }
            let width = if first.starts_with('0') || last.starts_with('0') { first.len().max(last.len()) } else { 0 };
            (from..=to).map(|number| format!("{number:0width$}")).collect()
        }
        None => inside.split(',').map(str::to_owned).collect(),
    };
    let ends = braces(after)?;
    if middles.len() * ends.len() > MOST {
        return Err(format!("more than {MOST} files"));
    }
    Ok(middles.iter().flat_map(|middle| ends.iter().map(move |end| format!("{before}{middle}{end}"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_name_numbered_files() {
        assert_eq!(braces("a-{008..011}.tar").unwrap(), ["a-008.tar", "a-009.tar", "a-010.tar", "a-011.tar"]);
        assert_eq!(braces("{a,b}/{9..10}").unwrap(), ["a/9", "a/10", "b/9", "b/10"]);
        assert_eq!(braces("plain").unwrap(), ["plain"]);
        for wrong in ["a{1..2", "a{2..1}", "a{x..3}", "{0..99999999}", "{0..9999}{0..9999}"] {
            assert!(braces(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stars_match_any_text() {
        let cases = [("*.tar", "a.tar", true), ("a*b*c", "axxbyc", true), ("a*b*c", "axxbyd", false), ("?", "", false)];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        assert!(matches(b"t?-*", b"t1-") && !matches(b"t?-*", b"t-") && matches(b"*a", b"aaa"));
    }

    #[test]
    fn a_star_lists_the_files_of_a_folder_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.tar", "a.tar", "c.txt", ".d.tar"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let spec = folder.path().join("*.tar");
        let found = expand(spec.to_str().unwrap()).unwrap();
        assert_eq!(found, [folder.path().join("a.tar"), folder.path().join("b.tar")]);
        let message = expand(folder.path().join("*.zip").to_str().unwrap()).unwrap_err().to_string();
        assert!(message.contains("is named like *.zip"), "{message}");
    }
}
