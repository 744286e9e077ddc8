//! A snapshot as a folder of files, complete exactly when its manifest says so.
//!
//! | file | holds |
//! |---|---|
//! | `model.safetensors` | the student's weights under timm's names, with step and configuration in its metadata |
//! | `teacher.safetensors` | the momentum encoder's weights, where there is a feature branch |
//! | `optimizer.safetensors` | AdamW's moments, `moment1/NAME` and `moment2/NAME` |
//! | `state.json` | step, configuration, adapter, kernel variants and images left out |
//! | `MANIFEST.json` | format, version, and length and BLAKE3 hash of each file; written last |
//!
//! All tensors are F32. Equal snapshots give equal bytes.

mod manifest;
mod single;
mod store;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    config::RunConfig,
    durable::{sync_folder, write_synced},
    snapshot::{MODEL, MOMENT1, MOMENT2, NamedTensor, Snapshot, TEACHER},
    tensors::{self, TensorFile, Values, Written},
};
use crate::error::{Error, Result};
use manifest::{Hashing, Manifest};

pub use store::{Checkpoints, Found};

/// The name of a whole checkpoint in one file, which version 1 wrote.
pub const SINGLE_FILE: &str = "checkpoint.safetensors";
/// The file of the student's weights.
pub const MODEL_FILE: &str = "model.safetensors";
const TEACHER_FILE: &str = "teacher.safetensors";
const OPTIMIZER_FILE: &str = "optimizer.safetensors";
const STATE_FILE: &str = "state.json";

/// The version that is written. Version 1, a single file, is read as well.
pub const VERSION: u32 = 2;

/// The longest JSON file of a checkpoint that is read, in bytes.
const MAX_JSON: u64 = 1 << 20;

/// A checkpoint's weights alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Steps that made them.
    pub step: u64,
    /// The configuration of the run.
    pub config: RunConfig,
    /// The student's weights.
    pub tensors: Vec<NamedTensor>,
}

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
}

/// Writes a snapshot into an empty folder and flushes it: each file, then the manifest, then the folder.
pub fn write(snapshot: &Snapshot, folder: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    let mut add = |name: &str, write: &dyn Fn(&mut dyn io::Write) -> io::Result<()>| -> Result<()> {
        let path = folder.join(name);
        let mut entry = None;
        write_synced(&path, |file| {
            let mut hashing = Hashing::new(file);
            write(&mut hashing)?;
            entry = Some(hashing.entry());
            Ok(())
        })
        .map_err(Error::io(&path))?;
        files.extend(entry.map(|entry| (name.to_owned(), entry)));
        Ok(())
    };
    let config = serde_json::to_string(&snapshot.config).map_err(|e| Error::io(folder)(e.into()))?;
    let metadata = |kind: &str| {
        let text = [("version", VERSION.to_string()), ("step", snapshot.step.to_string()), ("config", config.clone())];
        BTreeMap::from_iter(text.into_iter().chain([("format", format!("bootmae {kind}"))]))
    };
    let named = |group: &str, prefix: &'static str| -> Vec<Written<'_>> {
        let tensors = snapshot.group(group).iter();
        tensors.map(|t| Written { name: format!("{prefix}{}", t.name), shape: &t.shape, values: &t.data }).collect()
    };
    add(MODEL_FILE, &|to| tensors::write(to, &metadata("model"), &named(MODEL, "")))?;
    if snapshot.groups.contains_key(TEACHER) {
        add(TEACHER_FILE, &|to| tensors::write(to, &metadata("teacher"), &named(TEACHER, "")))?;
    }
    let moments = || [named(MOMENT1, "moment1/"), named(MOMENT2, "moment2/")].concat();
    add(OPTIMIZER_FILE, &|to| tensors::write(to, &metadata("optimizer"), &moments()))?;
    let (step, config, adapter) = (snapshot.step, snapshot.config.clone(), snapshot.adapter.clone());
    let (tuning, left_out) = (snapshot.tuning.clone(), snapshot.left_out.clone());
    let state = State { version: VERSION, step, config, adapter, tuning, left_out };
    add(STATE_FILE, &|to| Ok(serde_json::to_writer_pretty(to, &state)?))?;
    Manifest::new(snapshot.step, files).write(folder)?;
    sync_folder(folder).map_err(Error::io(folder))
}

/// Reads a checkpoint folder, comparing every file's length and hash with the manifest. [`Error::Checkpoint`] names the
/// file and says what is wrong with it. Allocates little more than the files' length.
pub fn read(folder: &Path) -> Result<Snapshot> {
    let manifest = Manifest::read(folder)?;
    let state = read_state(folder, &manifest)?;
    let mut groups = BTreeMap::new();
    groups.insert(MODEL.to_owned(), plain(folder, MODEL_FILE, checked(folder, MODEL_FILE, &manifest)?)?);
    if state.config.model.feature_branch {
        groups.insert(TEACHER.to_owned(), plain(folder, TEACHER_FILE, checked(folder, TEACHER_FILE, &manifest)?)?);
    }
    for tensor in plain(folder, OPTIMIZER_FILE, checked(folder, OPTIMIZER_FILE, &manifest)?)? {
        let Some((group @ (MOMENT1 | MOMENT2), name)) = tensor.name.split_once('/') else {
            let reason = format!("tensor `{}` is no moment", tensor.name);
            return Err(Error::checkpoint(folder.join(OPTIMIZER_FILE), reason));
        };
        let tensor = NamedTensor { name: name.to_owned(), ..tensor.clone() };
        groups.entry(group.to_owned()).or_default().push(tensor);
    }
    let State { step, config, adapter, tuning, left_out, .. } = state;
    Ok(Snapshot { step, config, adapter, tuning, left_out, groups })
}

/// Reads the student's weights from `path`: a run folder (its newest complete checkpoint), a checkpoint folder, a model
/// file, or a checkpoint of version 1.
pub fn read_model(path: &Path) -> Result<Model> {
    let of = |snapshot: Snapshot| {
        let Snapshot { step, config, mut groups, .. } = snapshot;
        Model { step, config, tensors: groups.remove(MODEL).unwrap_or_default() }
    };
    if !path.is_dir() {
        let file = read_tensors(path)?;
        return match file.metadata.get("format").map(String::as_str) {
            Some("bootmae model") => model(path, file),
            Some(single::FORMAT) => single::from_tensors(file).map(of).map_err(|e| Error::checkpoint(path, e)),
            Some(other @ ("bootmae teacher" | "bootmae optimizer")) => {
                Err(Error::checkpoint(path, format!("a {other} file; give {MODEL_FILE}, which lies beside it")))
            }
            _ => Err(Error::checkpoint(path, "a safetensors file, but not a bootmae checkpoint")),
        };
    }
    if path.join(manifest::FILE).is_file() {
        let manifest = Manifest::read(path)?;
        return model(&path.join(MODEL_FILE), checked(path, MODEL_FILE, &manifest)?);
    }
    let found = Checkpoints::of(path).newest()?;
    found.map(|found| of(found.snapshot)).ok_or_else(|| {
        Error::checkpoint(path, "holds no checkpoint; give a run folder, a checkpoint folder or a model file")
    })
}

/// Reads a whole checkpoint: a checkpoint folder, a run folder's newest, or a file of version 1.
pub fn read_any(path: &Path) -> Result<Snapshot> {
    if !path.is_dir() {
        return single::read(path);
    }
    if path.join(manifest::FILE).is_file() || Checkpoints::of(path).steps().is_empty() {
        return read(path);
    }
    let found = Checkpoints::of(path).newest()?;
    found.map(|found| found.snapshot).ok_or_else(|| Error::checkpoint(path, "holds no checkpoint"))
}

fn model(path: &Path, file: TensorFile) -> Result<Model> {
    let fail = |reason: String| Error::checkpoint(path, reason);
    let text = |key: &str| file.metadata.get(key).ok_or_else(|| fail(format!("no `{key}` in the metadata")));
    let version = text("version")?;
    if *version != VERSION.to_string() {
        return Err(fail(unread_version(version)));
    }
    let step = text("step")?.parse().map_err(|e| fail(format!("`step` in the metadata: {e}")))?;
    let config: RunConfig = file.json("config").map_err(fail)?;
    config.check().map_err(|e| fail(format!("`config` in the metadata: {e}")))?;
    let tensors = named_tensors(file).map_err(fail)?;
    Ok(Model { step, config, tensors })
}

fn unread_version(version: impl std::fmt::Display) -> String {
    format!("checkpoint version {version}; this program reads versions 1 and {VERSION}")
}

fn read_state(folder: &Path, manifest: &Manifest) -> Result<State> {
    let path = folder.join(STATE_FILE);
    let fail = |reason: String| Error::checkpoint(&path, reason);
    let mut text = Vec::new();
    let mut hashing = open_listed(folder, STATE_FILE, manifest, MAX_JSON)?;
    hashing.read_to_end(&mut text).map_err(Error::io(&path))?;
    manifest.compare(STATE_FILE, &hashing.entry()).map_err(fail)?;
    let state: State = serde_json::from_slice(&text).map_err(|e| fail(e.to_string()))?;
    state.config.check().map_err(|e| fail(e.to_string()))?;
    if (state.version, state.step) != (manifest.version, manifest.step) {
        return Err(fail(format!("step {} of version {}, unlike the manifest", state.step, state.version)));
    }
    Ok(state)
}

/// Opens a file that the manifest lists, once its length is the listed one and at most `most`.
fn open_listed(folder: &Path, name: &str, manifest: &Manifest, most: u64) -> Result<Hashing<io::BufReader<fs::File>>> {
    let path = folder.join(name);
    let listed = manifest.entry(name).map_err(|reason| Error::checkpoint(folder.join(manifest::FILE), reason))?;
    let file = fs::File::open(&path).map_err(|e| Error::checkpoint(&path, e.to_string()))?;
    let held = file.metadata().map_err(Error::io(&path))?;
    if !held.is_file() || held.len() != listed.bytes || held.len() > most {
        let (held, listed) = (held.len(), listed.bytes);
        return Err(Error::checkpoint(path, format!("{held} bytes where the manifest lists {listed}")));
    }
    Ok(Hashing::new(io::BufReader::with_capacity(1 << 20, file)))
}

/// The tensors of a listed file, its hash compared.
fn checked(folder: &Path, name: &str, manifest: &Manifest) -> Result<TensorFile> {
    let fail = |reason: String| Error::checkpoint(folder.join(name), reason);
    let mut hashing = open_listed(folder, name, manifest, u64::MAX)?;
    let length = manifest.entry(name).map_or(0, |entry| entry.bytes);
    let read = tensors::read(&mut hashing, length);
    // Whatever is wrong with the contents, a wrong hash says why.
    io::copy(&mut hashing, &mut io::sink()).map_err(Error::io(folder.join(name)))?;
    manifest.compare(name, &hashing.entry()).map_err(fail)?;
    read.map_err(fail)
}

/// The tensors of a file that no manifest lists.
fn read_tensors(path: &Path) -> Result<TensorFile> {
    let file = fs::File::open(path).map_err(Error::io(path))?;
    let found = file.metadata().map_err(Error::io(path))?;
    if !found.is_file() {
        return Err(Error::checkpoint(path, "not a file"));
    }
    tensors::read(io::BufReader::new(file), found.len()).map_err(|reason| Error::checkpoint(path, reason))
}

fn plain(folder: &Path, name: &str, file: TensorFile) -> Result<Vec<NamedTensor>> {
    named_tensors(file).map_err(|reason| Error::checkpoint(folder.join(name), reason))
}

fn named_tensors(file: TensorFile) -> Result<Vec<NamedTensor>, String> {
    let tensors = file.tensors.into_iter().map(|(name, tensor)| match tensor.values {
        Values::F32(data) => Ok(NamedTensor { name, shape: tensor.shape, data }),
        _ => Err(format!("tensor `{name}` is not F32")),
    });
    tensors.collect()
}
