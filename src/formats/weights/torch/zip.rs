//! Zip archives as `torch.save` writes them: entries stored as they are, found by the central directory. An archive that
//! could be read in two ways is refused. The format is <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>.

use std::{cell::Cell, collections::HashMap};

use crate::formats::weights::{source::ReadAt, view::Storage};
use crate::text::cut;

/// Length of the end record, and of the longest comment behind it.
const END: u64 = 22;
const COMMENT: u64 = 0xFFFF;
/// Lengths of the records of zip64: of the end, and of the note where that is.
const END_64: u64 = 56;
const LOCATOR: u64 = 20;
/// Lengths of an entry's head in the directory and in front of its data.
const CENTRAL: usize = 46;
const LOCAL: usize = 30;
/// Most entries, and the longest directory, in bytes.
const MOST_ENTRIES: u64 = 200_000;
const LONGEST_DIRECTORY: u64 = 64 << 20;
/// Bits of an entry's flags: encrypted, encrypted strongly, its head masked.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

/// The entries of an archive by name: where the data lies, and what its CRC-32 is.
pub(super) struct Archive {
    entries: HashMap<String, (u64, u64, u32)>,
}

impl Archive {
    /// Reads the central directory, and checks every entry against its local head.
    ///
    /// # Errors
    /// In words, with the entry's name: the archive is damaged, or more than `torch.save` writes.
    pub(super) fn open(source: &dyn ReadAt) -> Result<Archive, String> {
        let Directory { start, length, entries: count } = Directory::find(source)?;
        let bytes = read(source, start, length)?;
        let mut left = bytes.as_slice();
        let (mut entries, mut spans) = (HashMap::new(), Vec::new());
        for _ in 0..count {
            let damaged = || "its central directory is damaged".to_owned();
            let (head, rest) = left.split_at_checked(CENTRAL).ok_or_else(damaged)?;
            let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(head, at)));
            if head[..4] != *b"PK\x01\x02" || rest.len() < name + extra + comment {
                return Err(damaged());
            }
            let (name, rest) = rest.split_at(name);
            left = &rest[extra + comment..];
            let entry = Central::of(head, &rest[..extra]);
            let name = checked_name(name)?;
            let data =
                entry.data(source, name, start).map_err(|reason| format!("its entry `{}` {reason}", cut(name)))?;
            if entries.insert(name.to_owned(), (data, entry.length, entry.crc)).is_some() {
                return Err(format!("it has two entries `{}`", cut(name)));
            }
            spans.push((entry.local, data + entry.length));
        }
        if !left.is_empty() {
            return Err("its central directory is longer than its entries".into());
        }
        spans.sort_unstable();
        if spans.array_windows().any(|[one, next]| one.1 > next.0) {
            return Err("its entries overlap".into());
        }
        Ok(Archive { entries })
    }

    /// The one folder with `data.pkl`, and its slash.
    ///
    /// # Errors
    /// In words: there is none, or more than one.
    pub(super) fn folder(&self) -> Result<&str, String> {
        let slash = |folder: &&str| folder.find('/').is_some_and(|at| at + 1 == folder.len());
        let mut folders = self.entries.keys().filter_map(|name| name.strip_suffix("data.pkl")).filter(slash);
        match (folders.next(), folders.next()) {
            (Some(folder), None) => Ok(folder),
            (Some(one), Some(other)) => {
                let (one, other) = (one.min(other), one.max(other));
                Err(format!("two archives of torch.save in one, `{}` and `{}`", cut(one), cut(other)))
            }
            (None, _) => {
                let mut names: Vec<&str> = self.entries.keys().map(String::as_str).collect();
                names.sort_unstable();
                names.truncate(3);
                let names = cut(&names.join(", "));
                Err(format!("a zip archive that torch.save did not write: no data.pkl in a folder, but {names}"))
            }
        }
    }

    /// The bytes of an entry, whose sum is checked when it is first read.
    pub(super) fn storage(&self, name: &str) -> Option<Storage> {
        let &(start, length, crc) = self.entries.get(name)?;
        Some(Storage { source: 0, start, length, crc: Cell::new(Some(crc)), name: name.into() })
    }

    /// All bytes of an entry; none if there is no such entry.
    ///
    /// # Errors
    /// In words: it has more than `most` bytes, cannot be read or is damaged.
    pub(super) fn bytes(&self, source: &dyn ReadAt, name: &str, most: u64) -> Result<Option<Vec<u8>>, String> {
        let Some(storage) = self.storage(name) else { return Ok(None) };
        if storage.length > most {
            return Err(format!("`{}` has {} bytes; at most {most} are read", cut(name), storage.length));
        }
        let mut bytes = vec![0; storage.length as usize];
        storage.read(source, 0, &mut bytes)?;
        Ok(Some(bytes))
    }
}

/// Where the central directory lies, and of how many entries it is.
struct Directory {
    start: u64,
    length: u64,
    entries: u64,
}

impl Directory {
    fn find(source: &dyn ReadAt) -> Result<Directory, String> {
        let whole = source.len();
        let tail = read(source, whole.saturating_sub(END + COMMENT), whole.min(END + COMMENT))?;
        let place = tail.array_windows().rposition(|window| window == b"PK\x05\x06");
        let Some(end) = place.map(|at| &tail[at..]).filter(|end| end.len() >= END) else {
            return Err("its end is missing: the file is cut short".into());
        };
        if END + u64::from(u16_at(end, 20)) != end.len() as u64 {
            return Err("it has bytes after its end".into());
        }
        // Where the records of the end begin.
        let mut at = whole - end.len() as u64;
        let parts = (u16_at(end, 4), u16_at(end, 6));
        let (here, total, length, start) = (u16_at(end, 8), u16_at(end, 10), u32_at(end, 12), u32_at(end, 16));
        let mut found = [here.into(), total.into(), length.into(), start.into()];
        let locator = if at >= LOCATOR { read(source, at - LOCATOR, LOCATOR)? } else { Vec::new() };
        if locator.starts_with(b"PK\x06\x07") {
            let place = u64_at(&locator, 8);
            let large = if place.checked_add(END_64).is_some_and(|end| end <= at - LOCATOR) {
                read(source, place, END_64)?
            } else {
                Vec::new()
            };
            if !large.starts_with(b"PK\x06\x06") || u64_at(&large, 4).checked_add(12 + place) != Some(at - LOCATOR) {
                return Err("its zip64 record is not where it should be".into());
            }
            if (u32_at(&large, 16), u32_at(&large, 20)) != (0, 0) {
                return Err("it is one of several parts".into());
            }
            let small = found.map(|value: u64| value);
            found = [24, 32, 40, 48].map(|at| u64_at(&large, at));
            let most = [0xFFFF, 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF];
            if (0..4).any(|field| small[field] != most[field] && small[field] != found[field]) {
                return Err("its two ends contradict each other".into());
            }
            at = place;
        }
        let [here, entries, length, start] = found;
        if parts != (0, 0) || here != entries {
            return Err("it is one of several parts".into());
        }
        if start.checked_add(length) != Some(at) {
            return Err("its central directory is not where it should be".into());
        }
        if entries > MOST_ENTRIES || length > LONGEST_DIRECTORY {
            return Err(format!("it has {entries} entries in {length} bytes; at most {MOST_ENTRIES} are read"));
        }
        Ok(Directory { start, length, entries })
    }
}

/// What the central directory says of an entry.
struct Central {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    length: u64,
    /// Where its local head begins.
    local: u64,
}

impl Central {
    fn of(head: &[u8], extra: &[u8]) -> Central {
        let mut entry = Central {
            flags: u16_at(head, 8),
            method: u16_at(head, 10),
            crc: u32_at(head, 16),
            packed: u32_at(head, 20).into(),
            length: u32_at(head, 24).into(),
            local: u32_at(head, 42).into(),
        };
        // Fields: a tag, a length, and with tag 1 the values that do not fit above, in this order.
        let mut fields = extra;
        while let Some((head, rest)) = fields.split_at_checked(4) {
            let Some((field, rest)) = rest.split_at_checked(u16_at(head, 2).into()) else { break };
            fields = rest;
            if u16_at(head, 0) == 1 {
                let mut values = field.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
                for value in [&mut entry.length, &mut entry.packed, &mut entry.local] {
                    if *value == 0xFFFF_FFFF {
                        *value = values.next().unwrap_or(*value);
                    }
                }
                break;
            }
        }
        entry
    }

    /// Where the data begins, by the local head, whose extra field is another than the directory's; `end` is where the
    /// directory begins.
    fn data(&self, source: &dyn ReadAt, name: &str, end: u64) -> Result<u64, String> {
        if self.flags & ENCRYPTED != 0 {
            return Err("is encrypted".into());
        }
        if self.method != 0 || self.packed != self.length {
            return Err("is compressed; torch stores entries as they are".into());
        }
        let outside = || "lies outside the file".to_owned();
        let head = (LOCAL + name.len()) as u64;
        if self.local.checked_add(head).is_none_or(|head| head > end) {
            return Err(outside());
        }
        let bytes = read(source, self.local, head)?;
        if bytes[..4] != *b"PK\x03\x04" || bytes[LOCAL..] != *name.as_bytes() || u16_at(&bytes, 26) != name.len() as u16
        {
            return Err("is not where the directory says".into());
        }
        let data = self.local + head + u64::from(u16_at(&bytes, 28));
        if data.checked_add(self.length).is_none_or(|last| last > end) { Err(outside()) } else { Ok(data) }
    }
}

/// The name of an entry. Nothing is written under it; one that would lead elsewhere is the mark of an attack.
fn checked_name(name: &[u8]) -> Result<&str, String> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(format!("its entry `{}` has a name that is not UTF-8", cut(&String::from_utf8_lossy(name))));
    };
    if text.is_empty()
        || text.starts_with('/')
        || text.contains(['\\', '\0'])
        || text.split('/').any(|part| part == "..")
    {
        return Err(format!("its entry `{}` has the name of a place outside", cut(text)));
    }
    Ok(text)
}

/// Reads bytes that lie within the file.
fn read(source: &dyn ReadAt, at: u64, count: u64) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; count as usize];
    source.read_at(at, &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
