//! From the object in a file to sets of tensors.

use std::collections::hash_map::{self, HashMap};
use std::rc::Rc;

use super::globals::Known;
use super::heap::{Heap, Pair, Value};
use super::tape::Tape;
use crate::formats::weights::entry::{Dtype, Entry};
use crate::formats::weights::set::{Contents, FileKind, Set};
use crate::formats::weights::view::{Storage, View};
use crate::text::cut;

/// Most dictionaries of tensors, and most tensors, that are read.
const MOST_SETS: usize = 1000;
const MOST_TENSORS: usize = 200_000;
/// How many keys or names a message lists.
const LISTED: usize = 5;

/// The object that a file holds.
pub(super) struct Object<'a> {
    pub(super) tape: &'a Tape<'a>,
    pub(super) heap: &'a Heap,
    pub(super) root: Value,
    /// Bytes of the file.
    pub(super) length: u64,
    /// The storage of a key, if there is one.
    pub(super) find: &'a dyn Fn(&str) -> Option<Storage>,
}

impl Object<'_> {
    /// The tensors in the root dictionary and in the dictionaries directly under it.
    ///
    /// # Errors
    /// In words: there are none, or one contradicts its storage.
    pub(super) fn contents(&self, kind: FileKind) -> Result<Contents, String> {
        let Value::Dict(root) = self.root else { return Err(self.no_dictionary()) };
        let mut dicts = self.dicts(root);
        let under_root = dicts.remove(&root).unwrap_or_default();
        let mut reader = Reader { object: self, contents: Contents::of(kind), places: HashMap::new(), tensors: 0 };
        // A dictionary may stand under several keys, and the root in itself.
        let mut made = HashMap::from([(root, Rc::new(reader.set(&under_root)?))]);
        reader.add(String::new(), &made[&root])?;
        for pair in &under_root {
            let key = self.text(pair);
            match pair.value {
                Value::Dict(dict) if !key.is_empty() => {
                    let set = match made.entry(dict) {
                        hash_map::Entry::Occupied(made) => made.into_mut(),
                        hash_map::Entry::Vacant(place) => {
                            place.insert(Rc::new(reader.set(&dicts.remove(&dict).unwrap_or_default())?))
                        }
                    };
                    reader.add(key, set)?;
                }
                Value::Text(text) => reader.note(&key, cut(&String::from_utf8_lossy(self.tape.bytes(text)))),
                Value::Int(value) => reader.note(&key, value.to_string()),
                Value::Float(value) => reader.note(&key, value.to_string()),
                Value::Bool(value) => reader.note(&key, value.to_string()),
                _ => {}
            }
        }
        let mut contents = reader.contents;
        contents.passed_over = self.passed_over();
        if contents.sets.is_empty() {
            let keys: Vec<String> = under_root.iter().take(LISTED).map(|pair| cut(&self.text(pair))).collect();
            let over: Vec<String> = contents.passed_over.iter().take(LISTED).map(|name| cut(name)).collect();
            return Err(format!(
                "a file of torch.save without tensors in its dictionary or in those under its keys ({}); what it names \
                 beside ({}) is not looked into",
                keys.join(", "),
                over.join(", ")
            ));
        }
        Ok(contents)
    }

    /// What stands in the root dictionary and in those directly under it, by their numbers. Of pairs with one key the
    /// last counts, in the place of the first.
    fn dicts(&self, root: u32) -> HashMap<u32, Vec<Pair>> {
        let mut dicts = HashMap::from([(root, Vec::new())]);
        for pair in self.heap.pairs.iter().filter(|pair| pair.dict == root) {
            if let Value::Dict(dict) = pair.value {
                dicts.insert(dict, Vec::new());
            }
        }
        let mut places: HashMap<(u32, &[u8]), usize> = HashMap::new();
        for pair in &self.heap.pairs {
            let Some(held) = dicts.get_mut(&pair.dict) else { continue };
            let place = *places.entry((pair.dict, self.tape.bytes(pair.key))).or_insert(held.len());
            if place == held.len() {
                held.push(*pair);
            } else {
                held[place] = *pair;
            }
        }
        dicts
    }

    fn text(&self, pair: &Pair) -> String {
        String::from_utf8_lossy(self.tape.bytes(pair.key)).into_owned()
    }

    /// Names that are neither of tensors nor of dictionaries.
    fn passed_over(&self) -> Vec<String> {
        let others = self.heap.globals.iter().filter(|global| global.known == Known::Other);
        others.map(|global| global.name.clone()).collect()
    }

    fn no_dictionary(&self) -> String {
        let what = match self.root {
            Value::Opaque(Some(class)) => format!("an object of `{}`", cut(&self.heap.globals[class as usize].name)),
            Value::Tensor(_) => "a single tensor".into(),
            Value::List(_) | Value::Tuple { .. } => "a list".into(),
            _ => "a single value".into(),
        };
        format!(
            "a file of torch.save that holds {what} and no dictionary of tensors; save the state_dict() of the model"
        )
    }
}

/// A storage that tensors were found in.
#[derive(Clone)]
struct Place {
    /// Its number in [`Contents::storages`].
    number: usize,
    /// Bytes.
    length: u64,
}

struct Reader<'a> {
    object: &'a Object<'a>,
    contents: Contents,
    places: HashMap<&'a [u8], Place>,
    tensors: usize,
}

impl<'a> Reader<'a> {
    fn note(&mut self, key: &str, text: String) {
        self.contents.notes.insert(cut(key), text);
    }

    fn add(&mut self, key: String, set: &Rc<Set>) -> Result<(), String> {
        if self.contents.sets.len() == MOST_SETS {
            return Err(format!("it has more than {MOST_SETS} dictionaries of tensors"));
        }
        if !set.entries.is_empty() {
            self.contents.sets.push((key, set.clone()));
        }
        Ok(())
    }

    fn set(&mut self, pairs: &[Pair]) -> Result<Set, String> {
        let mut set = Set::default();
        for pair in pairs {
            let Value::Tensor(tensor) = pair.value else { continue };
            self.tensors += 1;
            if self.tensors > MOST_TENSORS {
                return Err(format!("it has more than {MOST_TENSORS} tensors"));
            }
            let name = self.object.text(pair);
            let (entry, view) = self
                .tensor(name, tensor)
                .map_err(|reason| format!("tensor `{}`: {reason}", cut(&self.object.text(pair))))?;
            set.insert(entry, view);
        }
        Ok(set)
    }

    fn tensor(&mut self, name: String, tensor: u32) -> Result<(Entry, View), String> {
        let heap = self.object.heap;
        let tensor = heap.tensors[tensor as usize];
        let storage = heap.storages[tensor.storage as usize];
        let class = &heap.globals[storage.class as usize];
        let dtype = if let Known::Storage(dtype) = class.known { dtype } else { Dtype::Other };
        let key = self.object.tape.bytes(storage.key);
        let shown = || cut(&String::from_utf8_lossy(key));
        let place = match self.places.get(key) {
            Some(place) => place.clone(),
            None => {
                let found = std::str::from_utf8(key).ok().and_then(|key| (self.object.find)(key));
                let found = found.ok_or_else(|| format!("its storage `{}` is not in the file", shown()))?;
                let place = Place { number: self.contents.storages.len(), length: found.length };
                self.contents.storages.push(found);
                self.places.insert(key, place.clone());
                place
            }
        };
        if dtype.width().is_some_and(|width| storage.count.checked_mul(width) != Some(place.length)) {
            let (count, length) = (storage.count, place.length);
            return Err(format!("its storage `{}` should have {count} values and has {length} bytes", shown()));
        }
        let (shape, strides) = (heap.integers(tensor.shape), heap.integers(tensor.strides));
        let (shape, strides) = shape.zip(strides).expect("integers, as was checked");
        let length = self.object.length;
        let (shape, mut view) = View::checked(place.number, tensor.offset, &shape, &strides, storage.count, length)?;
        view.unread = (dtype == Dtype::Other).then(|| cut(&class.name));
        Ok((Entry { name, dtype, shape }, view))
    }
}
