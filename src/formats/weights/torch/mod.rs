//! Files of `torch.save`, read without running anything in them, and written.
//!
//! Such a file is a pickle, a program for a stack machine, and storages, which are runs of values. [`pickle`] runs the
//! program as far as it builds values. What it would have Python call becomes a value that is not looked at, except the
//! few functions that make tensors and dictionaries of known form.

mod contents;
mod globals;
mod heap;
mod legacy;
mod pickle;
mod tape;
mod write;
mod zip;

use contents::Object;
use legacy::Legacy;
use tape::{MOST_BYTES, Tape};
pub use write::{write, write_sets};
use zip::Archive;

use super::set::{Contents, FileKind};
use super::source::ReadAt;

/// Longest description of the order of bytes.
const LONGEST_WORD: u64 = 64;

/// Opens what `torch.save` writes since 1.6.
pub(super) fn open_zip(source: &dyn ReadAt) -> Result<Contents, String> {
    let archive = Archive::open(source).map_err(|reason| format!("a zip archive that is not read: {reason}"))?;
    let folder = archive.folder()?;
    let order = archive.bytes(source, &format!("{folder}byteorder"), LONGEST_WORD)?;
    if order.is_some_and(|order| order.trim_ascii() != b"little") {
        return Err("its values are big-endian; save it anew on another machine".into());
    }
    let pickle = archive.bytes(source, &format!("{folder}data.pkl"), MOST_BYTES)?;
    let mut tape = Tape::of(pickle.ok_or("its pickle is missing")?);
    let (root, heap) = pickle::read(&mut tape, false)?;
    let find = |key: &str| {
        // What torch names so; no other name is looked up, though none could do harm.
        let word = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        archive.storage(&format!("{folder}data/{key}")).filter(|_| word)
    };
    Object { tape: &tape, heap: &heap, root, length: source.len(), find: &find }.contents(FileKind::Torch)
}

/// Opens what `torch.save` wrote before 1.6.
pub(super) fn open_legacy(source: &dyn ReadAt) -> Result<Contents, String> {
    let Legacy { tape, root, heap, storages } =
        Legacy::open(source).map_err(|reason| format!("a pickle that is not read: {reason}"))?;
    let find = |key: &str| storages.get(key).map(legacy::Place::storage);
    Object { tape: &tape, heap: &heap, root, length: source.len(), find: &find }.contents(FileKind::TorchLegacy)
}
