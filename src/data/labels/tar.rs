//! Labels in tar archives, as WebDataset lays them out: `KEY.cls`, `KEY.json` or `KEY.txt` under the key of an image.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::super::entries::{below, each_entry};
use super::super::names::in_hidden;
use super::{Labels, Numbered, by_folder, folder_at, listed, refuse};
use crate::error::Result;

/// The endings of files that hold labels. Of those of one key the first that tells one counts.
const ENDINGS: [&[u8]; 3] = [b"cls", b"json", b"txt"];

/// The longest text of a number that is read.
const LONGEST: u64 = 64;

/// The longest JSON file that is read.
const LONGEST_JSON: u64 = 4 << 20;

/// Where the bytes of a file start in the archive, and how many they are.
type Place = (u64, u64);

/// The files of a key by [`ENDINGS`].
type Beside = [Option<Place>; 3];

/// The part of a JSON file that is read.
#[derive(Deserialize)]
struct Described {
    label: Option<Value>,
}

/// The labels of the `count` images of an archive, of which `name` gives each one's path. The archive is listed again.
/// Where nothing beside an image tells a label, the first folders are the classes.
pub(in crate::data) fn read<'n>(path: &Path, count: usize, name: impl Fn(usize) -> &'n [u8]) -> Result<Labels> {
    let at = |reason: String| refuse(&path.display().to_string(), &reason);
    let found = members(path).map_err(at)?;
    if found.is_empty() {
        return by_folder(count, |index| folder_at(name(index), 0)).map_err(at);
    }
    let mut labels = Numbered::new(names(path)?);
    let mut file = File::open(path).map_err(|error| at(error.to_string()))?;
    for index in 0..count {
        let key = key(name(index)).0;
        let label = found.get(key).map_or(Ok(None), |beside| label(&mut file, beside));
        let pushed = label.and_then(|label| labels.push(label));
        pushed.map_err(|reason| at(format!("what lies beside {}: {reason}", String::from_utf8_lossy(name(index)))))?;
    }
    let labels = labels.finish();
    match labels.classes().is_empty() {
        true => by_folder(count, |index| folder_at(name(index), 0)).map_err(at),
        false => Ok(labels),
    }
}

/// The names of the classes in a file beside the archive, if there is one.
fn names(archive: &Path) -> Result<Option<Vec<String>>> {
    let text = archive.with_file_name("classes.txt");
    let named = listed::names(&text).map_err(|reason| refuse(&text.display().to_string(), &reason))?;
    let json = archive.with_file_name("_info.json");
    match named {
        Some(names) => Ok(Some(names)),
        None => listed::names_in_json(&json).map_err(|reason| refuse(&json.display().to_string(), &reason)),
    }
}

/// The key of a path, up to the first dot of its last part, and what follows that dot.
fn key(name: &[u8]) -> (&[u8], &[u8]) {
    let file = name.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    match name[file..].iter().position(|&byte| byte == b'.') {
        Some(dot) => (&name[..file + dot], &name[file + dot + 1..]),
        None => (name, b""),
    }
}

/// The files of an archive that may hold labels, by their keys.
fn members(path: &Path) -> std::result::Result<HashMap<Vec<u8>, Beside>, String> {
    let mut found: HashMap<Vec<u8>, Beside> = HashMap::new();
    let mut again: Vec<(Vec<u8>, Place, Place)> = Vec::new();
    each_entry(path, |entry| {
        let Some(name) = below(&entry.path_bytes(), b"").filter(|name| !in_hidden(name)) else { return };
        let (key, ending) = key(&name);
        let rank = ENDINGS.iter().position(|known| ending.eq_ignore_ascii_case(known));
        let Some(rank) = rank.filter(|_| entry.header().entry_type().is_file()) else { return };
        let place = (entry.raw_file_position(), entry.size());
        match found.entry(key.to_vec()) {
            Entry::Vacant(free) => drop(free.insert(Beside::default())[rank].insert(place)),
            Entry::Occupied(mut beside) => match beside.get_mut()[rank] {
                Some(first) => again.push((name.clone(), first, place)),
                ref mut free => *free = Some(place),
            },
        }
    })?;
    // Archives joined into one may repeat a key.
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    for (name, first, second) in again {
        let most = LONGEST_JSON;
        if first.1 != second.1 || bytes(&mut file, first, most)? != bytes(&mut file, second, most)? {
            return Err(format!("{} is there twice, with other contents", String::from_utf8_lossy(&name)));
        }
    }
    Ok(found)
}

/// The label that the files of a key tell.
fn label(file: &mut File, beside: &Beside) -> std::result::Result<Option<i128>, String> {
    let [cls, json, text] = *beside;
    if let Some(place) = cls {
        let bytes = bytes(file, place, LONGEST)?.ok_or("the .cls file is too long for a number")?;
        let label = number(&bytes).ok_or_else(|| {
            format!("the .cls file holds `{}`, which is no whole number", String::from_utf8_lossy(&bytes).trim())
        });
        return label.map(Some);
    }
    if let Some(place) = json {
        let bytes = bytes(file, place, LONGEST_JSON)?
            .ok_or_else(|| format!("the .json file has more than {} MiB", LONGEST_JSON >> 20))?;
        if bytes.trim_ascii_start().starts_with(b"{") {
            let described: Described =
                serde_json::from_slice(&bytes).map_err(|error| format!("the .json file is damaged: {error}"))?;
            match described.label {
                Some(Value::Number(number)) => return listed::whole(Some(&number)),
                Some(other) => {
                    let kinds = if other.is_string() { "a text" } else { "no whole number" };
                    return Err(format!("the field `label` of the .json file is {kinds}; it needs a whole number"));
                }
                None => {}
            }
        }
    }
    match text {
        Some(place) => Ok(bytes(file, place, LONGEST)?.as_deref().and_then(number)),
        None => Ok(None),
    }
}

/// The bytes of a file in the archive; none where they are more than `most`.
fn bytes(file: &mut File, (start, size): Place, most: u64) -> std::result::Result<Option<Vec<u8>>, String> {
    if size > most {
        return Ok(None);
    }
    let mut bytes = vec![0; size as usize];
    let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
    read.map_err(|error| error.to_string()).map(|()| Some(bytes))
}

/// The whole number that a text is, with blanks around it.
fn number(text: &[u8]) -> Option<i128> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_at_the_first_dot_of_the_last_part() {
        assert_eq!(key(b"sub.dir/0004.left.png"), (&b"sub.dir/0004"[..], &b"left.png"[..]));
        assert_eq!(key(b"0001.cls"), (&b"0001"[..], &b"cls"[..]));
        assert_eq!(key(b"a.b/c"), (&b"a.b/c"[..], &b""[..]));
    }

    #[test]
    fn a_number_may_have_blanks_around_it() {
        assert_eq!([number(b" 12\n"), number(b"-1")], [Some(12), Some(-1)]);
        assert_eq!([number(b"1.5"), number(b"cat"), number(b""), number(b"\xFF")], [None; 4]);
    }
}
