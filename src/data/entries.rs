//! The entries of a tar archive, and their names.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use tar::{Archive, Entry};

use super::records::read_range;

/// Bytes of a block: a header has one, and contents fill whole ones.
const BLOCK: u64 = 512;

/// Gives each entry of an archive to `take`; where several archives were joined into one, those of all. Returns what a
/// person should know of its end.
///
/// # Errors
/// In words, without the path: it cannot be read, is damaged, or is cut short within an entry.
pub(super) fn each_entry(path: &Path, mut take: impl FnMut(Entry<'_, BufReader<File>>)) -> Result<Vec<String>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut archive = Archive::new(BufReader::new(file));
    archive.set_ignore_zeros(true);
    let (mut notes, mut end) = (Vec::new(), 0);
    let damaged =
        |error: std::io::Error| format!("the archive is damaged or cut short: {error}; write or fetch it again");
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if is_end(path, end) => {
                notes.push(format!("{} has something behind its end that is no archive ({error})", path.display()));
                end = 0;
                break;
            }
            Err(error) => return Err(damaged(error)),
        };
        end = stored_end(&entry).map_err(damaged)?;
        if end > length {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            return Err(format!("the archive is cut short in {name}; write or fetch it again"));
        }
        take(entry);
    }
    let end = end.next_multiple_of(BLOCK);
    if end >= length && length > 0 {
        notes.push(format!("{} has no mark at its end; it may be cut short", path.display()));
    }
    Ok(notes)
}

/// Where the bytes of an entry end.
fn stored_end<R: Read>(entry: &Entry<'_, R>) -> std::io::Result<u64> {
    let size = if entry.header().entry_type().is_gnu_sparse() { entry.header().entry_size()? } else { entry.size() };
    Ok(entry.raw_file_position().saturating_add(size))
}

/// Whether the block behind byte `at` is the mark of an archive's end.
fn is_end(path: &Path, at: u64) -> bool {
    read_range(path, at.next_multiple_of(BLOCK), BLOCK as usize).is_ok_and(|block| block.iter().all(|&byte| byte == 0))
}

/// A path in an archive without what says nothing (`./`, `//`), beginning at `folder` unless it is absolute; none where
/// it leads out of the archive.
pub(super) fn below(path: &[u8], folder: &[u8]) -> Option<Vec<u8>> {
    let folder = if path.starts_with(b"/") { b"" } else { folder };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in folder.split(|&byte| byte == b'/').chain(path.split(|&byte| byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}
