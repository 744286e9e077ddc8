//! Files in safetensors, of which headers alone are read before a tensor is asked for.

use std::{cell::Cell, collections::BTreeMap, rc::Rc};

use ::safetensors::Dtype as Stored;

use super::entry::{Dtype, Entry};
use super::set::{Contents, FileKind, Set};
use super::source::{Forward, ReadAt};
use super::view::{Storage, View};
use crate::{formats::tensors::read_header, text::cut};

/// Reads the header of one file.
pub(super) fn open(source: &dyn ReadAt) -> Result<Contents, String> {
    let (mut contents, mut set) = (Contents::of(FileKind::Safetensors), Set::default());
    add(&mut contents, &mut set, 0, source)?;
    contents.sets.push((String::new(), Rc::new(set)));
    Ok(contents)
}

/// Reads the headers of the parts of one file. `map` says which part has which tensor.
pub(super) fn joined(parts: &[(String, Box<dyn ReadAt>)], map: &BTreeMap<String, usize>) -> Result<Contents, String> {
    let (mut contents, mut set) = (Contents::of(FileKind::Safetensors), Set::default());
    for (number, (name, source)) in parts.iter().enumerate() {
        let fail = |reason: String| format!("{}: {reason}", cut(name));
        let before = set.entries.len();
        add(&mut contents, &mut set, number, source.as_ref()).map_err(fail)?;
        let here = map.values().filter(|&&part| part == number).count();
        let stray = set.entries[before..].iter().find(|entry| map.get(&entry.name) != Some(&number));
        match stray {
            Some(entry) => return Err(fail(format!("the index does not name tensor `{}` here", cut(&entry.name)))),
            None if set.entries.len() - before != here => {
                return Err(fail(format!("not the {here} tensors that the index says are here; fetch the file again")));
            }
            None => {}
        }
    }
    if set.entries.len() != map.len() {
        return Err("the index names tensors in files that are not there; fetch them all".into());
    }
    contents.sets.push((String::new(), Rc::new(set)));
    Ok(contents)
}

/// Adds the tensors of a source to a set.
fn add(contents: &mut Contents, set: &mut Set, number: usize, source: &dyn ReadAt) -> Result<(), String> {
    let end = source.len();
    let (header, values) = read_header(&mut Forward { source, at: 0, end }, end)?;
    for (key, text) in header.metadata().iter().flatten() {
        contents.metadata.entry(key.clone()).or_insert_with(|| text.clone());
    }
    for name in header.offset_keys() {
        let Some(tensor) = header.info(&name) else { continue };
        if set.get(&name).is_some() {
            return Err(format!("tensor `{}` is in an earlier file too", cut(&name)));
        }
        let dtype = match tensor.dtype {
            Stored::F64 => Dtype::F64,
            Stored::F32 => Dtype::F32,
            Stored::F16 => Dtype::F16,
            Stored::BF16 => Dtype::Bf16,
            Stored::I64 => Dtype::I64,
            Stored::I32 => Dtype::I32,
            Stored::I16 => Dtype::I16,
            Stored::I8 => Dtype::I8,
            Stored::U8 => Dtype::U8,
            Stored::BOOL => Dtype::Bool,
            other => return Err(format!("tensor `{}` is {other}, which is not read", cut(&name))),
        };
        let signed = |&extent: &usize| i64::try_from(extent).map_err(|_| "an extent without end".to_owned());
        let (from, to) = tensor.data_offsets;
        let storage = Storage {
            source: number,
            start: values + from as u64,
            length: (to - from) as u64,
            crc: Cell::new(None),
            name: name.clone(),
        };
        let number = contents.storages.len();
        let view = (tensor.shape.iter().map(signed).collect::<Result<Vec<_>, _>>())
            .and_then(|shape| View::packed(number, &shape, tensor.shape.iter().product::<usize>() as u64, end));
        let (shape, view) = view.map_err(|reason| format!("tensor `{}`: {reason}", cut(&name)))?;
        contents.storages.push(storage);
        set.insert(Entry { name, dtype, shape }, view);
    }
    Ok(())
}
