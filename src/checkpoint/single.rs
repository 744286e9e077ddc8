//! Checkpoints of version 1, whole in one safetensors file: tensors are named `GROUP/NAME`, step, configuration and
//! adapter are in the metadata. They are read, no longer written.

use std::collections::BTreeMap;

use super::files::{named_tensors, unread_version};
use crate::{
    formats::tensors::TensorFile,
    train::{
        config::RunConfig,
        snapshot::{NamedTensor, Snapshot},
    },
};

pub(super) const FORMAT: &str = "bootmae checkpoint";

/// The checkpoint in a parsed file, or what is wrong with it in words.
pub(super) fn from_tensors(file: TensorFile) -> Result<Snapshot, String> {
    let text = |key: &str| file.metadata.get(key).ok_or_else(|| format!("no `{key}` in the metadata"));
    if file.metadata.get("format").is_none_or(|format| format != FORMAT) {
        return Err("a safetensors file, but not a bootmae checkpoint".into());
    }
    let version = text("version")?;
    if version != "1" {
        return Err(unread_version(version));
    }
    let step = text("step")?.parse().map_err(|e| format!("`step` in the metadata: {e}"))?;
    let config: RunConfig = file.json("config")?;
    config.check().map_err(|e| format!("`config` in the metadata: {e}"))?;
    let adapter = text("adapter")?.clone();
    let mut groups: BTreeMap<String, Vec<NamedTensor>> = BTreeMap::new();
    for tensor in named_tensors(file)? {
        let (group, name) =
            tensor.name.split_once('/').ok_or_else(|| format!("tensor `{}` is in no group", tensor.name))?;
        let (group, name) = (group.to_owned(), name.to_owned());
        groups.entry(group).or_default().push(NamedTensor { name, ..tensor });
    }
    Ok(Snapshot { step, config, adapter, tuning: None, left_out: Vec::new(), collection: None, groups })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::tensors;

    const OLD: &[u8] = include_bytes!("../../tests/fixtures/checkpoint_1/checkpoint.safetensors");

    #[test]
    fn a_checkpoint_of_version_1_is_read() {
        let held = from_tensors(tensors::parse(OLD).unwrap()).unwrap();
        assert_eq!((held.step, held.config.model.width, held.config.training.steps), (2, 8, 4));
        assert_eq!(held.groups.keys().collect::<Vec<_>>(), ["model", "moment1", "moment2", "teacher"]);
        assert!(held.groups.values().all(|tensors| tensors.len() == held.group("model").len()));
    }

    #[test]
    fn what_is_no_checkpoint_is_named() {
        let refusal = |key: &str, value: &str| {
            let mut file = tensors::parse(OLD).unwrap();
            file.metadata.insert(key.into(), value.into());
            from_tensors(file).unwrap_err()
        };
        assert!(refusal("format", "pt").contains("not a bootmae checkpoint"));
        assert_eq!(refusal("version", "3"), "checkpoint version 3; this program reads versions 1 and 2");
        assert!(refusal("step", "-1").contains("`step`"));
        assert!(refusal("config", "{}").contains("missing field"));
    }
}
