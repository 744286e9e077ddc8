//! A snapshot as the files of a checkpoint, and back.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use serde::{Deserialize, Serialize};

use super::{
    files::{Files, MAX_JSON, MODEL_FILE, OPTIMIZER_FILE, STATE_FILE, Sink, TEACHER_FILE, VERSION, named_tensors},
    manifest::{self, Hashing, Manifest},
    weights,
};
use crate::{
    data::Collection,
    error::{Error, Result},
    formats::tensors::{self, TensorFile},
    train::{
        config::RunConfig,
        snapshot::{LOSS_SCALE, MODEL, MOMENT1, MOMENT2, NamedTensor, Snapshot, TEACHER},
    },
};

/// `state.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u32,
    step: u64,
    config: RunConfig,
    adapter: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tuning: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    collection: Option<Collection>,
}

/// Writes the files of a snapshot, the manifest last.
pub(super) fn put(snapshot: &Snapshot, to: &mut impl Sink) -> Result<()> {
    let mut files = BTreeMap::new();
    let mut add = |name: &str, write: &dyn Fn(&mut dyn Write) -> io::Result<()>| -> Result<()> {
        let mut entry = None;
        to.put(name, &mut |file| {
            let mut hashing = Hashing::new(file);
            write(&mut hashing)?;
            entry = Some(hashing.entry());
            Ok(())
        })?;
        files.extend(entry.map(|entry| (name.to_owned(), entry)));
        Ok(())
    };
    let metadata = |kind| weights::metadata(kind, snapshot.step, &snapshot.config);
    let named = |group: &str, prefix: &'static str| weights::named(snapshot.group(group), prefix);
    add(MODEL_FILE, &|to| tensors::write(to, &metadata("model")?, &named(MODEL, "")))?;
    if snapshot.groups.contains_key(TEACHER) {
        add(TEACHER_FILE, &|to| tensors::write(to, &metadata("teacher")?, &named(TEACHER, "")))?;
    }
    let optimiser = || {
        [(MOMENT1, "moment1/"), (MOMENT2, "moment2/"), (LOSS_SCALE, "loss_scale/")].map(|(g, at)| named(g, at)).concat()
    };
    add(OPTIMIZER_FILE, &|to| tensors::write(to, &metadata("optimizer")?, &optimiser()))?;
    let (step, config, adapter) = (snapshot.step, snapshot.config.clone(), snapshot.adapter.clone());
    let (tuning, left_out) = (snapshot.tuning.clone(), snapshot.left_out.clone());
    let collection = snapshot.collection.clone();
    let state = State { version: VERSION, step, config, adapter, tuning, left_out, collection };
    add(STATE_FILE, &|to| Ok(serde_json::to_writer_pretty(to, &state)?))?;
    let manifest = Manifest::new(snapshot.step, files);
    to.put(manifest::FILE, &mut |to| Ok(serde_json::to_writer_pretty(to, &manifest)?))
}

/// Reads a snapshot, comparing every file's length and hash with the manifest. [`Error::Checkpoint`] names the file and
/// says what is wrong with it. Allocates little more than the files' length.
pub(super) fn take(from: &impl Files) -> Result<Snapshot> {
    let manifest = Manifest::read(from)?;
    let state = take_state(from, &manifest)?;
    let mut groups = BTreeMap::new();
    groups.insert(MODEL.to_owned(), plain(from, MODEL_FILE, checked(from, MODEL_FILE, &manifest)?)?);
    if state.config.keeps_average() {
        groups.insert(TEACHER.to_owned(), plain(from, TEACHER_FILE, checked(from, TEACHER_FILE, &manifest)?)?);
    }
    for tensor in plain(from, OPTIMIZER_FILE, checked(from, OPTIMIZER_FILE, &manifest)?)? {
        let Some((group @ (MOMENT1 | MOMENT2 | LOSS_SCALE), name)) = tensor.name.split_once('/') else {
            return Err(
                from.fault(OPTIMIZER_FILE, format!("tensor `{}` is neither moment nor loss scale", tensor.name))
            );
        };
        let tensor = NamedTensor { name: name.to_owned(), ..tensor.clone() };
        groups.entry(group.to_owned()).or_default().push(tensor);
    }
    let State { step, config, adapter, tuning, left_out, collection, .. } = state;
    Ok(Snapshot { step, config, adapter, tuning, left_out, collection, groups })
}

fn take_state(from: &impl Files, manifest: &Manifest) -> Result<State> {
    let fail = |reason: String| from.fault(STATE_FILE, reason);
    let mut text = Vec::new();
    let mut hashing = open_listed(from, STATE_FILE, manifest, MAX_JSON)?;
    hashing.read_to_end(&mut text).map_err(Error::io(from.path(STATE_FILE)))?;
    manifest.compare(STATE_FILE, &hashing.entry()).map_err(fail)?;
    let state: State = serde_json::from_slice(&text).map_err(|e| fail(e.to_string()))?;
    state.config.check().map_err(|e| fail(e.to_string()))?;
    if (state.version, state.step) != (manifest.version, manifest.step) {
        return Err(fail(format!("step {} of version {}, unlike the manifest", state.step, state.version)));
    }
    Ok(state)
}

/// Opens a file that the manifest lists, once its length is the listed one and at most `most`.
fn open_listed<'f>(
    from: &'f impl Files,
    name: &str,
    manifest: &Manifest,
    most: u64,
) -> Result<Hashing<Box<dyn Read + 'f>>> {
    let listed = manifest.entry(name).map_err(|reason| from.fault(manifest::FILE, reason))?;
    let (file, held) = from.open(name).map_err(|reason| from.fault(name, reason))?;
    if held != listed.bytes || held > most {
        return Err(from.fault(name, format!("{held} bytes where the manifest lists {}", listed.bytes)));
    }
    Ok(Hashing::new(file))
}

/// The tensors of a listed file, its hash compared.
pub(super) fn checked(from: &impl Files, name: &str, manifest: &Manifest) -> Result<TensorFile> {
    let fail = |reason: String| from.fault(name, reason);
    let mut hashing = open_listed(from, name, manifest, u64::MAX)?;
    let length = manifest.entry(name).map_or(0, |entry| entry.bytes);
    let read = tensors::read(&mut hashing, length);
    // Whatever is wrong with the contents, a wrong hash says why.
    io::copy(&mut hashing, &mut io::sink()).map_err(Error::io(from.path(name)))?;
    manifest.compare(name, &hashing.entry()).map_err(fail)?;
    read.map_err(fail)
}

pub(super) fn plain(from: &impl Files, name: &str, file: TensorFile) -> Result<Vec<NamedTensor>> {
    named_tensors(file).map_err(|reason| from.fault(name, reason))
}
