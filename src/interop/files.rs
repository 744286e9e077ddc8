//! Weights of other programs on the disk: a file, or a folder of Hugging Face.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use super::{
    about::About,
    asked::{Asked, Imported},
    import, is_own,
    known::{Beside, Known},
    may_be_foreign,
};
use crate::{
    checkpoint::read_model,
    error::{Error, Result},
    formats::weights::{ReadAt, WeightFile},
    text::shown,
};

const CONFIG: &str = "config.json";
const PROCESSOR: &str = "preprocessor_config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const TORCH: &str = "pytorch_model.bin";
const TORCH_INDEX: &str = "pytorch_model.bin.index.json";
/// What a checkpoint of this program has.
const MANIFEST: &str = "MANIFEST.json";

/// The most bytes of a file of JSON that are read; an index names every tensor.
const LARGEST_JSON: u64 = 16 << 20;

/// Weights at a path.
enum Found {
    /// This program's.
    Own,
    /// Another's, with what is said beside them.
    Foreign(Box<(WeightFile, Known)>),
}

/// Reads the network at `path`: this program's own as [`read_model`] does, or that of another program: a file of torch or
/// safetensors, or a folder of Hugging Face.
///
/// # Errors
/// [`Error::Checkpoint`] with what is wrong with the file, [`Error::Config`] where something is asked for that this
/// program's own checkpoints say themselves.
pub fn open(path: &Path, asked: &Asked) -> Result<Imported> {
    match find(path)? {
        Found::Own => Imported::own(read_model(path)?, asked),
        Found::Foreign(found) => {
            import::import(&found.0, &found.1, asked).map_err(|reason| Error::checkpoint(path, reason))
        }
    }
}

/// Says what is at `path`, also where it cannot be read as a network.
///
/// # Errors
/// [`Error::Checkpoint`] where it is no file of weights at all.
pub fn about(path: &Path, asked: &Asked) -> Result<About> {
    match find(path)? {
        Found::Own => Ok(About::own(&read_model(path)?)),
        Found::Foreign(found) => Ok(About::foreign(&found.0, &found.1, asked)),
    }
}

fn find(path: &Path) -> Result<Found> {
    if path.is_dir() {
        let holds = |name: &str| path.join(name).is_file();
        return if holds(CONFIG) && !holds(MANIFEST) { folder(path) } else { Ok(Found::Own) };
    }
    let file = File::open(path).map_err(Error::io(path))?;
    if !file.metadata().map_err(Error::io(path))?.is_file() {
        return Ok(Found::Own);
    }
    let mut start = Vec::new();
    (&file).take(16).read_to_end(&mut start).map_err(Error::io(path))?;
    if !may_be_foreign(&start) {
        return Ok(Found::Own);
    }
    let file = WeightFile::open(Box::new(file)).map_err(|reason| Error::checkpoint(path, reason))?;
    Ok(if is_own(&file) { Found::Own } else { Found::Foreign(Box::new((file, Known::default()))) })
}

/// A folder of Hugging Face.
fn folder(path: &Path) -> Result<Found> {
    let fail = |reason: String| Error::checkpoint(path, reason);
    let optional = |name: &str| if path.join(name).is_file() { json(&path.join(name)).map(Some) } else { Ok(None) };
    let beside = Beside { config: json(&path.join(CONFIG))?, processor: optional(PROCESSOR)? };
    let known = Known::beside(&beside).map_err(fail)?;
    let open = |name: &str| {
        let path = path.join(name);
        let file = File::open(&path).map_err(Error::io(&path))?;
        WeightFile::open(Box::new(file)).map_err(|reason| Error::checkpoint(path, reason))
    };
    let file = if path.join(WEIGHTS).is_file() {
        open(WEIGHTS)?
    } else if let Some(index) = optional(INDEX)? {
        shards(path, &index).map_err(|reason| Error::checkpoint(path.join(INDEX), reason))?
    } else if path.join(TORCH).is_file() {
        open(TORCH)?
    } else if path.join(TORCH_INDEX).is_file() {
        let reason = "weights in several files of torch are not read; save them again as safetensors";
        return Err(Error::checkpoint(path.join(TORCH_INDEX), reason));
    } else {
        return Err(fail(format!("it holds {CONFIG} but neither {WEIGHTS} nor {TORCH}")));
    };
    Ok(Found::Foreign(Box::new((file, known))))
}

/// Reads a small file.
fn json(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut bytes = Vec::new();
    file.take(LARGEST_JSON + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > LARGEST_JSON {
        return Err(Error::checkpoint(
            path,
            format!("longer than the {LARGEST_JSON} bytes that are read of such files"),
        ));
    }
    Ok(bytes)
}

/// The files that an index names, as one.
fn shards(folder: &Path, index: &[u8]) -> Result<WeightFile, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let Index { weight_map } = serde_json::from_slice(index).map_err(|e| e.to_string())?;
    let mut numbers = BTreeMap::new();
    for name in weight_map.values() {
        // A file of this folder, whatever the index says.
        if Path::new(name).file_name().is_none_or(|own| own != name.as_str()) || name.contains(['/', '\\']) {
            return Err(format!("it names the file {}, which is not in its folder", shown(name)));
        }
        let next = numbers.len();
        numbers.entry(name.as_str()).or_insert(next);
    }
    let mut parts: Vec<(usize, String, Box<dyn ReadAt>)> = Vec::new();
    for (name, number) in &numbers {
        let file = File::open(folder.join(name)).map_err(|e| format!("{}: {e}", shown(name)))?;
        parts.push((*number, (*name).to_owned(), Box::new(file)));
    }
    parts.sort_by_key(|(number, ..)| *number);
    let map = weight_map.iter().map(|(tensor, name)| (tensor.clone(), numbers[name.as_str()])).collect();
    WeightFile::joined(parts.into_iter().map(|(_, name, source)| (name, source)).collect(), &map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_files_of_its_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["../x.safetensors", "/etc/passwd", "a/b", "..", "", "a\\b"] {
            let index = serde_json::json!({ "weight_map": { "cls_token": name } }).to_string();
            let reason = shards(folder.path(), index.as_bytes()).err().unwrap();
            assert!(reason.contains("not in its folder"), "{name}: {reason}");
        }
        std::fs::write(folder.path().join(CONFIG), "{}").unwrap();
        std::fs::write(folder.path().join(INDEX), r#"{"weight_map": {"cls_token": "gone.safetensors"}}"#).unwrap();
        let reason = open(folder.path(), &Asked::default()).unwrap_err().to_string();
        assert!(reason.contains("gone.safetensors"), "{reason}");
    }
}
