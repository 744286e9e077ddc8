//! What a file of weights holds: named sets of tensors.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

use super::entry::Entry;
use super::view::{Storage, View};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// One file of safetensors, or several.
    Safetensors,
    /// What `torch.save` writes since 1.6.
    Torch,
    /// What `torch.save` wrote before.
    TorchLegacy,
}

/// `safetensors`, `torch zip`, `torch before 1.6`.
impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            FileKind::Safetensors => "safetensors",
            FileKind::Torch => "torch zip",
            FileKind::TorchLegacy => "torch before 1.6",
        })
    }
}

/// The tensors under one key, in the file's order. A name that comes again takes the place of its first.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) entries: Vec<Entry>,
    views: Vec<View>,
    places: HashMap<String, usize>,
}

impl Set {
    pub(super) fn insert(&mut self, entry: Entry, view: View) {
        match self.places.get(&entry.name) {
            Some(&place) => (self.entries[place], self.views[place]) = (entry, view),
            None => {
                self.places.insert(entry.name.clone(), self.entries.len());
                self.entries.push(entry);
                self.views.push(view);
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<(&Entry, &View)> {
        self.places.get(name).map(|&place| (&self.entries[place], &self.views[place]))
    }
}

/// Everything that is known of a file before a tensor is read.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) kind: FileKind,
    pub(super) metadata: BTreeMap<String, String>,
    /// A set may stand under several keys.
    pub(super) sets: Vec<(String, Rc<Set>)>,
    pub(super) storages: Vec<Storage>,
    pub(super) passed_over: Vec<String>,
    pub(super) notes: BTreeMap<String, String>,
}

impl Contents {
    /// A file of a kind, of which nothing is known yet.
    pub(super) fn of(kind: FileKind) -> Contents {
        Contents {
            kind,
            metadata: BTreeMap::new(),
            sets: Vec::new(),
            storages: Vec::new(),
            passed_over: Vec::new(),
            notes: BTreeMap::new(),
        }
    }
}
