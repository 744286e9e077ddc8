//! What `torch.save` wrote before 1.6: five pickles (a magic number, a version, a description of the machine, the object,
//! the keys of the storages), then each storage as a count and its values.

use std::{cell::Cell, collections::HashMap};

use super::globals::Known;
use super::heap::{Heap, Pair, Value};
use super::pickle;
use super::tape::Tape;
use crate::formats::weights::{entry::Dtype, source::ReadAt, view::Storage};
use crate::text::cut;

/// The number 0x1950A86A20F9469CFC6C, little-endian.
const MAGIC: &[u8] = b"\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19";
const VERSION: i64 = 1001;

/// Where the values of a storage lie, in bytes.
pub(super) struct Place {
    start: u64,
    length: u64,
    name: String,
}

impl Place {
    pub(super) fn storage(&self) -> Storage {
        Storage { source: 0, start: self.start, length: self.length, crc: Cell::new(None), name: self.name.clone() }
    }
}

/// The object, and the storages by their keys.
pub(super) struct Legacy<'a> {
    pub(super) tape: Tape<'a>,
    pub(super) root: Value,
    pub(super) heap: Heap,
    pub(super) storages: HashMap<String, Place>,
}

impl<'a> Legacy<'a> {
    /// Reads the pickles, and finds the storages.
    ///
    /// # Errors
    /// In words: what is refused in the pickles, or a storage that is not there.
    pub(super) fn open(source: &'a dyn ReadAt) -> Result<Legacy<'a>, String> {
        let mut tape = Tape::over(source);
        match pickle::read(&mut tape, false)?.0 {
            Value::Long(number) if tape.bytes(number) == MAGIC => {}
            _ => return Err("it does not begin with torch's magic number: torch.save did not write it".into()),
        }
        match pickle::read(&mut tape, false)?.0 {
            Value::Int(VERSION) => {}
            _ => return Err(format!("it is of another version of torch's format; {VERSION} is read")),
        }
        let (_, machine) = pickle::read(&mut tape, false)?;
        let big = |pair: &Pair| tape.bytes(pair.key) == b"little_endian" && matches!(pair.value, Value::Bool(false));
        if machine.pairs.iter().any(big) {
            return Err("its values are big-endian; save it anew on another machine".into());
        }
        let (root, heap) = pickle::read(&mut tape, false)?;
        let (keys, list) = pickle::read(&mut tape, true)?;
        let Value::List(keys) = keys else { return Err("its storages are in no list".into()) };
        let classes: HashMap<&[u8], u32> =
            heap.storages.iter().map(|storage| (tape.bytes(storage.key), storage.class)).collect();
        let (mut storages, mut at, end) = (HashMap::new(), tape.at() as u64, source.len());
        for key in list.list(keys) {
            let Value::Text(key) = key else { return Err("the key of a storage is no text".into()) };
            let key = tape.bytes(key);
            let name = String::from_utf8_lossy(key).into_owned();
            let class = classes.get(key).map(|&class| &heap.globals[class as usize]);
            let width = class.and_then(|class| match class.known {
                Known::Storage(dtype) => Dtype::width(dtype),
                _ => None,
            });
            let Some(width) = width else {
                let class = class.map_or("an unknown class".into(), |class| cut(&class.name));
                return Err(format!("its storage `{}` is of {class}, which is not read", cut(&name)));
            };
            let mut count = [0; 8];
            if end - at < 8 {
                return Err(format!("it is cut short before its storage `{}`", cut(&name)));
            }
            source.read_at(at, &mut count).map_err(|error| error.to_string())?;
            at += 8;
            let count = i64::from_le_bytes(count);
            let bytes = u64::try_from(count).ok().and_then(|count| count.checked_mul(width));
            let Some(bytes) = bytes.filter(|bytes| *bytes <= end - at) else {
                return Err(format!("its storage `{}` has {count} values, which reach outside the file", cut(&name)));
            };
            let place = Place { start: at, length: bytes, name: name.clone() };
            if storages.insert(name, place).is_some() {
                return Err("it has two storages of one key".into());
            }
            at += bytes;
        }
        if at != end {
            return Err(format!("it has {} bytes after its last storage", end - at));
        }
        Ok(Legacy { tape, root, heap, storages })
    }
}
