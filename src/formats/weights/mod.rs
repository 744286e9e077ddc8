//! Files of weights that others wrote, read tensor by tensor: safetensors and what `torch.save` writes.
//!
//! A file is material from outside. Nothing in it is run, no length of it believed, and what is wrong comes back as a
//! sentence that names it. Opening reads what the file says of its tensors; values are read when they are asked for.

mod entry;
mod safetensors;
mod set;
mod source;
mod torch;
mod view;

use std::collections::BTreeMap;

pub use entry::{Dtype, Entry};
use set::Contents;
pub use set::FileKind;
pub use source::ReadAt;
pub use torch::{write as write_torch, write_sets as write_torch_sets};

use super::foreign::what_it_is;
use crate::text::cut;

/// Bytes of the beginning that tell what a file is.
const HEAD: u64 = 1024;

/// Named sets of tensors in a file, or in several that belong together.
pub struct WeightFile {
    sources: Vec<Box<dyn ReadAt>>,
    contents: Contents,
}

impl WeightFile {
    /// Opens one file, whose kind its content tells.
    ///
    /// # Errors
    /// In words: what the file is instead, or what is wrong with it.
    pub fn open(source: Box<dyn ReadAt>) -> Result<WeightFile, String> {
        let mut head = vec![0; source.len().min(HEAD) as usize];
        source.read_at(0, &mut head).map_err(|error| error.to_string())?;
        let held = source.as_ref();
        let contents = match head.as_slice() {
            // A header's length may be any number, also one that begins as other files do.
            head if head.get(8) == Some(&b'{') => safetensors::open(held),
            [b'P', b'K', 3, 4, ..] => torch::open_zip(held),
            [0x80, 2..=5, ..] => torch::open_legacy(held),
            head => Err(what_it_is(head).map_or_else(
                || "neither a file of torch.save nor safetensors".into(),
                |what| format!("no file of weights but {what}"),
            )),
        }?;
        Ok(WeightFile { sources: vec![source], contents })
    }

    /// Opens several safetensors files as one: each with its name for messages, and which of them, by its number, has
    /// which tensor, as `weight_map` of `model.safetensors.index.json` says.
    ///
    /// # Errors
    /// In words: a file is wrong, or does not hold what `map` says.
    pub fn joined(parts: Vec<(String, Box<dyn ReadAt>)>, map: &BTreeMap<String, usize>) -> Result<WeightFile, String> {
        let contents = safetensors::joined(&parts, map)?;
        Ok(WeightFile { sources: parts.into_iter().map(|(_, source)| source).collect(), contents })
    }

    /// What the file is.
    pub fn kind(&self) -> FileKind {
        self.contents.kind
    }

    /// The strings of safetensors' `__metadata__`; empty for other kinds.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.contents.metadata
    }

    /// The sets by their key in the root dictionary, such as `model` and `model_ema`, in the file's order. `""` is the
    /// root itself. Only dictionaries that hold tensors are sets; of safetensors the root alone is one.
    pub fn keys(&self) -> Vec<&str> {
        self.contents.sets.iter().map(|(key, _)| key.as_str()).collect()
    }

    /// The tensors of a set, in the file's order; none if there is no such set.
    pub fn entries(&self, key: &str) -> Option<&[Entry]> {
        self.set(key).map(|set| set.entries.as_slice())
    }

    /// Reads the values of a tensor in row-major order. F16 and BF16 widen exactly, F64 is rounded, integers become the
    /// nearest f32.
    ///
    /// # Errors
    /// In words, with the tensor's name: there is none, it cannot be read, its bytes are damaged, its type is not read,
    /// or a value is not finite.
    pub fn read(&self, key: &str, name: &str) -> Result<Vec<f32>, String> {
        let found = self.set(key).and_then(|set| set.get(name));
        let (entry, view) = found.ok_or_else(|| format!("no tensor `{}`", cut(name)))?;
        let storage = &self.contents.storages[view.storage];
        let values = view.read(entry, storage, self.sources[storage.source].as_ref());
        values.map_err(|reason| format!("tensor `{}`: {reason}", cut(name)))
    }

    /// Names of the classes and functions that the file holds beside tensors, which were passed over.
    pub fn passed_over(&self) -> &[String] {
        &self.contents.passed_over
    }

    /// The strings and numbers of the root dictionary, such as `epoch`, as text.
    pub fn notes(&self) -> &BTreeMap<String, String> {
        &self.contents.notes
    }

    fn set(&self, key: &str) -> Option<&set::Set> {
        self.contents.sets.iter().find(|(held, _)| held == key).map(|(_, set)| set.as_ref())
    }
}
