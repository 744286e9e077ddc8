//! The choices of earlier measurements, in a JSON file of the user's cache folder: adapter → computation → variant.
//!
//! The file is a convenience and never trusted: what cannot be read, parsed or run on the device is as good as absent.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    device::Device,
    durable::write_atomically,
    error::{Error, Result},
    kernels::{self, Variant, Work},
};

/// A larger file is begun anew.
const MAX_BYTES: u64 = 1 << 20;

/// The choices made for one adapter, with those of others kept beside them.
#[derive(Debug, Default)]
pub struct Cache {
    adapters: BTreeMap<String, BTreeMap<String, Variant>>,
    adapter: String,
}

/// Where the file is, if the system names a cache folder.
pub fn path() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = |rest: &str| folder("HOME").map(|home| home.join(rest));
    let caches = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home("Library/Caches")
    } else {
        folder("XDG_CACHE_HOME").or_else(|| home(".cache"))
    };
    Some(caches?.join("bootmae").join("tuning.json"))
}

/// What a choice depends on beside the computation: adapter, driver, interface, how shaders are compiled, their text.
pub fn key(device: &Device) -> String {
    let adapter = device.adapter();
    let shaders = if device.is_checked() { "checked" } else { "trusted" };
    let text = kernels::fingerprint();
    format!("{} | {} | {} | {shaders} shaders {text:016x}", adapter.name, adapter.driver, adapter.backend)
}

impl Cache {
    /// The file at `path` seen from the adapter with this [`key`]; empty where it is missing or damaged.
    pub fn load(path: &Path, adapter: String) -> Cache {
        let small = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= MAX_BYTES);
        let bytes = if small { fs::read(path).unwrap_or_default() } else { Vec::new() };
        let held: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
            serde_json::from_slice(&bytes).unwrap_or_default();
        let variants = |map: BTreeMap<String, serde_json::Value>| {
            map.into_iter().filter_map(|(work, held)| Some((work, serde_json::from_value(held).ok()?))).collect()
        };
        Cache { adapters: held.into_iter().map(|(adapter, map)| (adapter, variants(map))).collect(), adapter }
    }

    /// The variant chosen for `work`, if it is one of `candidates`.
    pub fn get(&self, work: &Work, candidates: &[Variant]) -> Option<Variant> {
        let variant = self.adapters.get(&self.adapter)?.get(&work.to_string())?;
        candidates.contains(variant).then_some(*variant)
    }

    /// Notes what was chosen for `work`.
    pub fn put(&mut self, work: &Work, variant: Variant) {
        self.adapters.entry(self.adapter.clone()).or_default().insert(work.to_string(), variant);
    }

    /// Replaces the file at `path` as a whole.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let text = serde_json::to_vec_pretty(&self.adapters).expect("variants are JSON");
        write_atomically(path, |file| file.write_all(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernels::{Form, Tile},
        shape::DType,
    };

    const PLAIN: Variant = Variant::Matmul(Tile::Naive);

    fn work(k: usize) -> Work {
        Work::Matmul { form: Form::Nt, shape: [65, 7, k], operands: DType::F32 }
    }

    #[test]
    fn a_saved_choice_is_found_by_its_adapter_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("tuning.json");
        let mut cache = Cache::load(&path, "a".into());
        assert_eq!(cache.get(&work(1), &[PLAIN]), None);
        cache.put(&work(1), PLAIN);
        cache.save(&path).unwrap();
        let read = Cache::load(&path, "a".into());
        assert_eq!((read.get(&work(1), &[PLAIN]), read.get(&work(2), &[PLAIN])), (Some(PLAIN), None));
        let mut other = Cache::load(&path, "b".into());
        assert_eq!(other.get(&work(1), &[PLAIN]), None);
        other.put(&work(2), PLAIN);
        other.save(&path).unwrap();
        assert_eq!(Cache::load(&path, "a".into()).get(&work(1), &[PLAIN]), Some(PLAIN), "kept beside the other's");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_cache_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tuning.json");
        let mut cache = Cache::load(&path, "a".into());
        cache.put(&work(1), PLAIN);
        cache.save(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        let damaged = [whole[..whole.len() / 2].to_vec(), b"[]".into(), b"\xff".into(), b"{\"a\": 3}".into(), vec![]];
        for bytes in damaged {
            fs::write(&path, bytes).unwrap();
            assert_eq!(Cache::load(&path, "a".into()).get(&work(1), &[PLAIN]), None);
        }
        assert_eq!(Cache::load(folder.path(), "a".into()).get(&work(1), &[PLAIN]), None, "a folder");
    }

    #[test]
    fn an_entry_that_is_no_candidate_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tuning.json");
        let text =
            |variant: &str| format!(r#"{{"a": {{"{}": {variant}, "{}": {{"matmul": "naive"}}}}}}"#, work(1), work(2));
        let other = r#"{"attention": {"scalar": {"group": 8}}}"#;
        for variant in [other, r#"{"matmul": "fast"}"#, r#""register 8x8 group 1x8""#, "7", "null"] {
            fs::write(&path, text(variant)).unwrap();
            let cache = Cache::load(&path, "a".into());
            assert_eq!(
                (cache.get(&work(1), &[PLAIN]), cache.get(&work(2), &[PLAIN])),
                (None, Some(PLAIN)),
                "{variant}"
            );
        }
    }
}
