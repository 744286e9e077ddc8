//! The values that a pickle builds. They refer to each other by number: what is shared is kept once, and nothing that
//! walks or drops them recurses.

use std::collections::HashMap;

use super::globals::{Known, known};
use super::tape::{Span, Tape};

/// How deep lists, tuples and dictionaries may lie in each other.
const DEEPEST: u8 = 200;

/// A value. What it consists of is in the [`Heap`], or in the pickle itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, as the pickle has it: little-endian.
    Long(Span),
    Float(f64),
    /// A text in UTF-8.
    Text(Span),
    /// Bytes, which are not looked at.
    Bytes,
    Tuple {
        depth: u8,
        start: u32,
        length: u32,
    },
    List(u32),
    Dict(u32),
    /// A class or function, by the number of its name.
    Global(u32),
    /// Something that is not looked at: made by the class or function of that number, or by a set's opcodes.
    Opaque(Option<u32>),
    Storage(u32),
    Tensor(u32),
}

/// A value under a text in a dictionary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) dict: u32,
    pub(super) key: Span,
    pub(super) value: Value,
}

/// What a pickle says of a storage: its class, by the number of the name, its key, and how many values it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct StorageValue {
    pub(super) class: u32,
    pub(super) key: Span,
    pub(super) count: u64,
}

/// What a pickle says of a tensor. Extents and strides are tuples.
#[derive(Clone, Copy, Debug)]
pub(super) struct TensorValue {
    pub(super) storage: u32,
    pub(super) offset: i64,
    pub(super) shape: (u32, u32),
    pub(super) strides: (u32, u32),
}

/// The name of a class or function.
#[derive(Debug)]
pub(super) struct Global {
    pub(super) name: String,
    pub(super) known: Known,
}

/// Everything that a pickle built.
#[derive(Debug, Default)]
pub(super) struct Heap {
    /// The items of tuples, one tuple after the other.
    tuples: Vec<Value>,
    /// How deep each list is, and the items of lists with the list's number, where these are wanted.
    lists: Vec<u8>,
    items: Option<Vec<(u32, Value)>>,
    /// How deep each dictionary is, and what stands under texts in any. A later pair takes the place of an earlier one.
    dicts: Vec<u8>,
    pub(super) pairs: Vec<Pair>,
    pub(super) globals: Vec<Global>,
    numbers: HashMap<String, u32>,
    pub(super) storages: Vec<StorageValue>,
    pub(super) tensors: Vec<TensorValue>,
}

impl Heap {
    /// One without values, which keeps the items of lists if these are wanted.
    pub(super) fn new(lists: bool) -> Heap {
        Heap { items: lists.then(Vec::new), ..Heap::default() }
    }

    /// The items of a list, where those of lists are kept.
    pub(super) fn list(&self, list: u32) -> impl Iterator<Item = Value> {
        self.items.iter().flatten().filter(move |(held, _)| *held == list).map(|(_, item)| *item)
    }

    /// How many values are kept.
    pub(super) fn held(&self) -> usize {
        let items = self.items.as_ref().map_or(0, Vec::len);
        self.tuples.len() + items + self.pairs.len() + self.storages.len() + self.tensors.len()
    }

    /// The items of a tuple.
    pub(super) fn tuple(&self, (start, length): (u32, u32)) -> &[Value] {
        &self.tuples[start as usize..][..length as usize]
    }

    /// A tuple's extent; none of another value.
    pub(super) fn as_tuple(value: Value) -> Option<(u32, u32)> {
        match value {
            Value::Tuple { start, length, .. } => Some((start, length)),
            _ => None,
        }
    }

    /// A tuple of integers.
    pub(super) fn integers(&self, tuple: (u32, u32)) -> Option<Vec<i64>> {
        self.tuple(tuple).iter().map(|value| if let Value::Int(value) = value { Some(*value) } else { None }).collect()
    }

    pub(super) fn new_tuple(&mut self, items: &[Value]) -> Result<Value, String> {
        let (start, length) = (self.tuples.len() as u32, items.len() as u32);
        self.tuples.extend_from_slice(items);
        Ok(Value::Tuple { depth: self.around(items.iter().copied())?, start, length })
    }

    pub(super) fn new_list(&mut self) -> Value {
        self.lists.push(1);
        Value::List(self.lists.len() as u32 - 1)
    }

    pub(super) fn new_dict(&mut self) -> Value {
        self.dicts.push(1);
        Value::Dict(self.dicts.len() as u32 - 1)
    }

    /// Adds items to a list; to something that is not looked at in vain.
    pub(super) fn extend(&mut self, list: Value, items: &[Value]) -> Result<(), String> {
        let list = match list {
            Value::List(list) => list,
            Value::Opaque(_) => return Ok(()),
            _ => return Err("it adds items to what is no list".into()),
        };
        let depth = self.around(items.iter().copied())?;
        let held = &mut self.lists[list as usize];
        *held = depth.max(*held);
        if let Some(kept) = &mut self.items {
            kept.extend(items.iter().map(|item| (list, *item)));
        }
        Ok(())
    }

    /// Sets keys and values that follow each other in a dictionary; in something that is not looked at in vain.
    pub(super) fn set(&mut self, dict: Value, pairs: &[Value]) -> Result<(), String> {
        let (pairs, rest) = pairs.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a key without a value".into());
        }
        let dict = match dict {
            Value::Dict(dict) => dict,
            Value::Opaque(_) => return Ok(()),
            _ => return Err("it sets an item of what is no dictionary".into()),
        };
        let depth = self.around(pairs.iter().map(|[_, value]| *value))?;
        let held = &mut self.dicts[dict as usize];
        *held = depth.max(*held);
        // Nothing is looked up under keys of other kinds.
        self.pairs.extend(pairs.iter().filter_map(|&[key, value]| match key {
            Value::Text(key) => Some(Pair { dict, key, value }),
            _ => None,
        }));
        Ok(())
    }

    /// The depth of what holds these values.
    fn around(&self, values: impl Iterator<Item = Value>) -> Result<u8, String> {
        let deep = values.map(|value| match value {
            Value::Tuple { depth, .. } => depth,
            Value::List(list) => self.lists[list as usize],
            Value::Dict(dict) => self.dicts[dict as usize],
            _ => 0,
        });
        let depth = 1 + deep.max().unwrap_or(0);
        if depth > DEEPEST { Err(format!("values are nested more than {DEEPEST} deep")) } else { Ok(depth) }
    }

    /// The name of a class or function.
    pub(super) fn global(&mut self, module: &[u8], name: &[u8]) -> Result<Value, String> {
        let (module, name) = (String::from_utf8_lossy(module), String::from_utf8_lossy(name));
        let whole = format!("{module}.{name}");
        if let Some(number) = self.numbers.get(&whole) {
            return Ok(Value::Global(*number));
        }
        let known = known(&module, &name)?;
        let number = self.globals.len() as u32;
        self.globals.push(Global { name: whole.clone(), known });
        self.numbers.insert(whole, number);
        Ok(Value::Global(number))
    }

    /// What a call gives, without calling anything.
    pub(super) fn called(&mut self, function: Value, arguments: Value) -> Result<Value, String> {
        let Value::Global(number) = function else { return Ok(Heap::made_by(function)) };
        let opaque = Ok(Value::Opaque(Some(number)));
        let Some(tuple) = Heap::as_tuple(arguments) else { return opaque };
        match (self.globals[number as usize].known, self.tuple(tuple)) {
            (Known::OrderedDict, []) => Ok(self.new_dict()),
            (Known::First, [first, ..]) => Ok(*first),
            (Known::RebuildTensor, &[Value::Storage(storage), offset, shape, strides, ..]) => {
                let Value::Int(offset) = offset else { return Err("a tensor without an offset".into()) };
                let odd = || "a tensor whose extents or strides are no integers".to_owned();
                let (shape, strides) =
                    (Heap::as_tuple(shape).ok_or_else(odd)?, Heap::as_tuple(strides).ok_or_else(odd)?);
                let integers = [shape, strides].map(|tuple| self.tuple(tuple)).concat();
                if !integers.iter().all(|value| matches!(value, Value::Int(_))) {
                    return Err(odd());
                }
                self.tensors.push(TensorValue { storage, offset, shape, strides });
                Ok(Value::Tensor(self.tensors.len() as u32 - 1))
            }
            _ => opaque,
        }
    }

    /// What a class makes that is not looked at.
    pub(super) fn made_by(class: Value) -> Value {
        match class {
            Value::Global(number) => Value::Opaque(Some(number)),
            Value::Opaque(number) => Value::Opaque(number),
            _ => Value::Opaque(None),
        }
    }

    /// The storage that a persistent id stands for.
    pub(super) fn storage(&mut self, id: Value, tape: &Tape) -> Result<Value, String> {
        let Some(&[Value::Text(word), Value::Global(class), Value::Text(key), _, Value::Int(count), ref rest @ ..]) =
            Heap::as_tuple(id).map(|tuple| self.tuple(tuple))
        else {
            return Err("a persistent id that is no storage".into());
        };
        if tape.bytes(word) != b"storage" {
            return Err("a persistent id that is no storage".into());
        }
        if !matches!(rest, [] | [Value::None, ..]) {
            return Err("a storage that is a part of another, as torch before 0.4 wrote; save it anew".into());
        }
        let count = u64::try_from(count).map_err(|_| format!("a storage of {count} values"))?;
        self.storages.push(StorageValue { class, key, count });
        Ok(Value::Storage(self.storages.len() as u32 - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the limits on the number of values promise about memory.
    #[test]
    fn values_are_small() {
        assert_eq!((size_of::<Value>(), size_of::<Pair>()), (16, 32));
    }
}
