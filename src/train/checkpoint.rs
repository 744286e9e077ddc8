//! The state of a run in one safetensors file: weights, teacher, both moments of AdamW, step and configuration.
//!
//! Tensors are named `GROUP/NAME` (`model/blocks.0.norm1.weight`), all F32. The metadata holds the format and its
//! version, the step, the configuration as JSON, the adapter's name and the kernel variants as JSON. Equal states give equal bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};

#[cfg(not(target_arch = "wasm32"))]
use std::{fs, io::BufWriter, path::Path};

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use super::config::RunConfig;
use super::tensors::{self, TensorFile, Values};
#[cfg(not(target_arch = "wasm32"))]
use crate::error::{Error, Result};

/// The file's name inside a run folder.
pub const FILE_NAME: &str = "checkpoint.safetensors";
/// Group of the student's weights.
pub const MODEL: &str = "model";
/// Group of the momentum encoder's weights.
pub const TEACHER: &str = "teacher";
/// Group of AdamW's first moments.
pub const MOMENT1: &str = "moment1";
/// Group of AdamW's second moments.
pub const MOMENT2: &str = "moment2";

const FORMAT: &str = "bootmae checkpoint";
const VERSION: &str = "1";

/// A tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Name inside its group.
    pub name: String,
    /// Extent of each axis, outermost first.
    pub shape: Vec<usize>,
    /// Values in row-major order, as many as the product of `shape`.
    pub data: Vec<f32>,
}

/// The state of a run after `step` steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Steps completed.
    pub step: u64,
    /// The configuration the run was started with.
    pub config: RunConfig,
    /// Name of the adapter that computed the state; another one continues with slightly different numbers.
    pub adapter: String,
    /// The kernel variants that computed it, as JSON; other ones continue with slightly different numbers. None in files
    /// from before there was a choice.
    pub tuning: Option<String>,
    /// Tensors by group: [`MODEL`], [`TEACHER`], [`MOMENT1`], [`MOMENT2`].
    pub groups: BTreeMap<String, Vec<NamedTensor>>,
}

impl Checkpoint {
    /// Writes the file's bytes. Panics if a tensor's values do not fill its shape.
    pub fn encode(&self, mut to: impl Write) -> io::Result<()> {
        let metadata = [
            ("format", FORMAT.to_owned()),
            ("version", VERSION.to_owned()),
            ("step", self.step.to_string()),
            ("config", serde_json::to_string(&self.config)?),
            ("adapter", self.adapter.clone()),
        ];
        let mut metadata: BTreeMap<&str, String> = metadata.into();
        metadata.extend(self.tuning.iter().map(|tuning| ("tuning", tuning.clone())));
        let mut header = BTreeMap::from([("__metadata__".to_owned(), serde_json::to_value(metadata)?)]);
        let mut offset = 0;
        for (group, tensor) in self.tensors() {
            let NamedTensor { name, shape, data } = tensor;
            assert_eq!(shape.iter().product::<usize>(), data.len(), "values of {group}/{name} for its shape {shape:?}");
            let range = (offset, offset + size_of_val(&data[..]));
            offset = range.1;
            let entry = TensorInfo { dtype: Dtype::F32, shape: shape.clone(), data_offsets: range };
            header.insert(format!("{group}/{name}"), serde_json::to_value(entry)?);
        }
        let mut header = serde_json::to_vec(&header)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        to.write_all(&(header.len() as u64).to_le_bytes())?;
        to.write_all(&header)?;
        self.tensors().try_for_each(|(_, tensor)| to.write_all(bytemuck::cast_slice(&tensor.data)))
    }

    /// The checkpoint in a parsed file, or what is wrong with it in words.
    pub fn from_tensors(file: TensorFile) -> Result<Checkpoint, String> {
        let text = |key: &str| file.metadata.get(key).ok_or_else(|| format!("no `{key}` in the metadata"));
        if file.metadata.get("format").is_none_or(|format| format != FORMAT) {
            return Err("a safetensors file, but not a bootmae checkpoint".into());
        }
        let version = text("version")?;
        if version != VERSION {
            return Err(format!("checkpoint version {version}; this program reads version {VERSION}"));
        }
        let step = text("step")?.parse().map_err(|e| format!("`step` in the metadata: {e}"))?;
        let config: RunConfig = file.json("config")?;
        config.check().map_err(|e| format!("`config` in the metadata: {e}"))?;
        let adapter = text("adapter")?.clone();
        let tuning = file.metadata.get("tuning").cloned();
        let mut groups: BTreeMap<String, Vec<NamedTensor>> = BTreeMap::new();
        for (path, tensor) in file.tensors {
            let (group, name) = path.split_once('/').ok_or_else(|| format!("tensor `{path}` is in no group"))?;
            let Values::F32(data) = tensor.values else { return Err(format!("tensor `{path}` is not F32")) };
            let tensor = NamedTensor { name: name.to_owned(), shape: tensor.shape, data };
            groups.entry(group.to_owned()).or_default().push(tensor);
        }
        Ok(Checkpoint { step, config, adapter, tuning, groups })
    }

    /// The checkpoint in a file's bytes, or what is wrong with them in words.
    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, String> {
        Checkpoint::from_tensors(tensors::parse(bytes)?)
    }

    /// Compares the tensors of `group` with the names and shapes that are needed. The error lists what is missing, what
    /// is unexpected and what has another shape.
    pub fn check_matches<'a>(
        &self,
        group: &str,
        needed: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Result<(), String> {
        let tensors = self.groups.get(group).map(Vec::as_slice).unwrap_or_default();
        let mut held: BTreeMap<&str, &[usize]> = tensors.iter().map(|t| (&t.name[..], &t.shape[..])).collect();
        let (mut missing, mut reshaped) = (Vec::new(), Vec::new());
        for (name, shape) in needed {
            match held.remove(name) {
                None => missing.push(name.to_owned()),
                Some(other) if other != shape => reshaped.push(format!("{name} {other:?} (needed {shape:?})")),
                Some(_) => {}
            }
        }
        let unexpected = held.keys().map(ToString::to_string).collect();
        let kinds = [("missing", missing), ("unexpected", unexpected), ("differently shaped", reshaped)];
        let found: Vec<String> =
            kinds.iter().filter(|(_, names)| !names.is_empty()).map(|(kind, names)| listed(kind, names)).collect();
        if found.is_empty() { Ok(()) } else { Err(format!("`{group}` does not fit the model: {}", found.join("; "))) }
    }

    fn tensors(&self) -> impl Iterator<Item = (&str, &NamedTensor)> {
        self.groups.iter().flat_map(|(group, tensors)| tensors.iter().map(move |tensor| (&group[..], tensor)))
    }
}

/// `2 missing: a, b`; long lists are cut.
fn listed(kind: &str, names: &[String]) -> String {
    const SHOWN: usize = 6;
    let more = names.len().saturating_sub(SHOWN);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} {kind}: {}{tail}", names.len(), names[..names.len() - more].join(", "))
}

#[cfg(not(target_arch = "wasm32"))]
impl Checkpoint {
    /// Replaces the file at `path` as a whole: see [`write_atomically`].
    pub fn save(&self, path: &Path) -> Result<()> {
        write_atomically(path, |file| self.encode(file))
    }

    /// Reads the file at `path`. A file that cannot be opened is [`Error::Io`]; one that is truncated, malformed or no
    /// checkpoint is [`Error::Checkpoint`] saying what is wrong. Allocates little more than the file's length.
    pub fn load(path: &Path) -> Result<Checkpoint> {
        let file = fs::File::open(path).map_err(Error::io(path))?;
        let found = file.metadata().map_err(Error::io(path))?;
        if !found.is_file() {
            return Err(Error::checkpoint(path, "not a file"));
        }
        tensors::read(io::BufReader::new(file), found.len())
            .and_then(Checkpoint::from_tensors)
            .map_err(|reason| Error::checkpoint(path, reason))
    }
}

/// Replaces the file at `path` by what `write` writes, or leaves it as it was: writes `NAME.partial` beside it, flushes
/// that to the disk, renames it over `path` and flushes the folder, in this order. The partial file is removed on
/// failure; one left behind by a killed process is overwritten by the next save.
#[cfg(not(target_arch = "wasm32"))]
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let name = path.file_name().ok_or_else(|| Error::checkpoint(path, "not the name of a file"))?;
    let mut partial = name.to_owned();
    partial.push(".partial");
    let partial = path.with_file_name(partial);
    let written = write_synced(&partial, write).and_then(|()| fs::rename(&partial, path));
    written.map_err(|e| {
        let _ = fs::remove_file(&partial);
        Error::io(path)(e)
    })?;
    sync_folder(path).map_err(Error::io(path))
}

#[cfg(not(target_arch = "wasm32"))]
fn write_synced(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// Makes a rename inside the folder of `path` last through a power loss, where a folder can be opened for that.
#[cfg(not(target_arch = "wasm32"))]
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let tensor = |name: &str, shape: &[usize], first: f32| NamedTensor {
            name: name.into(),
            shape: shape.into(),
            data: (0..shape.iter().product()).map(|i| first + i as f32).collect(),
        };
        let group = |first| vec![tensor("cls_token", &[1, 1, 4], first), tensor("norm.weight", &[3], -first)];
        let groups = [(MODEL, 1.0), (TEACHER, f32::MIN_POSITIVE), (MOMENT1, 3.0), (MOMENT2, f32::INFINITY)];
        Checkpoint {
            step: 12,
            config: RunConfig::preset("nano").unwrap(),
            adapter: "llvmpipe \"x\"".into(),
            tuning: Some("{}".into()),
            groups: groups.map(|(name, first)| (name.to_owned(), group(first))).into(),
        }
    }

    fn bytes(checkpoint: &Checkpoint) -> Vec<u8> {
        let mut bytes = Vec::new();
        checkpoint.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_saved_checkpoint_loads_as_it_was_and_leaves_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(folder.path().join("checkpoint.safetensors.partial"), "left by a killed process").unwrap();
        fs::write(&path, "an older one").unwrap();
        sample().save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap(), sample());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), bytes(&sample()), "equal states give equal bytes");
    }

    #[test]
    fn other_readers_of_safetensors_accept_the_file() {
        let bytes = bytes(&sample());
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!((file.len(), file.tensor("model/norm.weight").unwrap().shape()), (8, &[3][..]));
    }

    #[test]
    fn truncated_checkpoint_is_refused_not_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let whole = bytes(&sample());
        for length in 0..whole.len() {
            assert!(Checkpoint::decode(&whole[..length]).is_err(), "{length} of {} bytes were accepted", whole.len());
        }
        for length in [0, 7, 8, 100, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let error = Checkpoint::load(&path).unwrap_err();
            assert!(matches!(&error, Error::Checkpoint { path: named, .. } if *named == path), "{error}");
        }
    }

    #[test]
    fn flipped_bits_are_refused_or_give_a_sound_checkpoint() {
        let whole = bytes(&sample());
        let values: usize = sample().tensors().map(|(_, tensor)| tensor.data.len() * 4).sum();
        let sound = |(_, t): (&str, &NamedTensor)| t.shape.iter().product::<usize>() == t.data.len();
        let mut refused = 0;
        for at in 0..whole.len() - values {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                match Checkpoint::decode(&flipped) {
                    Err(_) => refused += 1,
                    Ok(read) => assert!(read.tensors().all(sound), "byte {at} bit {bit}"),
                }
            }
            if at < 8 {
                assert_eq!(refused, 8 * (at + 1), "a wrong header length was accepted");
            }
        }
        assert!(refused > 4 * (whole.len() - values), "only {refused} flips were refused");
    }

    #[test]
    fn a_failed_save_keeps_the_old_checkpoint_and_leaves_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        sample().save(&path).unwrap();
        let full = |to: &mut dyn Write| {
            to.write_all(&[0; 5000])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        };
        let error = write_atomically(&path, full).unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
        assert_eq!(Checkpoint::load(&path).unwrap(), sample());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_checkpoint_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none");
        assert!(matches!(Checkpoint::load(&missing), Err(Error::Io { .. })));
        assert!(Checkpoint::load(folder.path()).is_err());
        let refusal = |key: &str, value: &str| {
            let mut file = tensors::parse(&bytes(&sample())).unwrap();
            file.metadata.insert(key.into(), value.into());
            Checkpoint::from_tensors(file).unwrap_err()
        };
        assert!(refusal("format", "pt").contains("not a bootmae checkpoint"));
        assert_eq!(refusal("version", "2"), "checkpoint version 2; this program reads version 1");
        assert!(refusal("step", "-1").contains("`step`"));
        assert!(refusal("config", "{}").contains("missing field"));
        let mut config = serde_json::to_value(sample().config).unwrap();
        config["model"]["patch_size"] = 0.into();
        assert!(refusal("config", &config.to_string()).contains("patch_size 0"));
        let mut file = tensors::parse(&bytes(&sample())).unwrap();
        file.tensors.get_mut("moment1/norm.weight").unwrap().values = Values::I64(vec![0; 3]);
        assert!(Checkpoint::from_tensors(file).unwrap_err().contains("`moment1/norm.weight` is not F32"));
    }

    #[test]
    fn mismatching_tensors_are_named_with_both_shapes() {
        let refusal = |needed: &[(&str, &[usize])]| sample().check_matches(MODEL, needed.iter().copied());
        assert_eq!(refusal(&[("norm.weight", &[3]), ("cls_token", &[1, 1, 4])]), Ok(()));
        let reason = refusal(&[("norm.weight", &[4]), ("pos_embed", &[1])]).unwrap_err();
        assert!(reason.contains("1 missing: pos_embed"), "{reason}");
        assert!(reason.contains("1 unexpected: cls_token"), "{reason}");
        assert!(reason.contains("1 differently shaped: norm.weight [3] (needed [4])"), "{reason}");
        let many: Vec<String> = (0..9).map(|i| format!("n{i}")).collect();
        let needed = many.iter().map(|name| (&name[..], &[1][..]));
        let reason = sample().check_matches("nothing", needed).unwrap_err();
        assert!(reason.contains("9 missing: n0, n1, n2, n3, n4, n5 and 3 more"), "{reason}");
    }
}
