//! A set of a file's tensors by the names of its world.

use std::collections::BTreeMap;

use super::worlds::World;
use crate::{
    formats::weights::{Dtype, Entry},
    text::shown,
};

/// What wrappers and training scripts put before the name of every tensor.
const PREFIXES: [&str; 5] = ["module.", "_orig_mod.", "model.", "encoder.", "backbone."];

/// The keys under which weights are looked for, in this order; the root of the file comes last.
pub(super) const KEYS: [&str; 5] = ["model", "state_dict", "module", AVERAGE, ""];

/// The key of BootMAE's moving average.
pub(super) const AVERAGE: &str = "model_ema";

/// Parts of names that belong to networks of another kind, and what they are of.
const REFUSED: [(&str, &str); 17] = [
    ("dist_token", "a distilled DeiT, which has a distillation token"),
    ("distillation_", "a distilled DeiT, which has a distillation token"),
    ("head_dist.", "a distilled DeiT, which has a second head"),
    ("reg_token", "an encoder with register tokens"),
    ("register_tokens", "an encoder with register tokens"),
    ("attn.q_norm", "an encoder that normalises queries and keys"),
    ("attn.k_norm", "an encoder that normalises queries and keys"),
    ("mlp.w1", "an encoder with SwiGLU in its MLPs"),
    ("mlp.fc1_g", "an encoder with SwiGLU in its MLPs"),
    ("relative_position", "BEiT, which has relative positions"),
    ("norm_pre", "an encoder with a norm before its first block, as CLIP's"),
    ("pre_layrnorm", "CLIP"),
    ("layer_scale1", "DINOv2 with the names of Hugging Face"),
    ("rope", "an encoder with rotary positions"),
    ("attn_pool", "an encoder with attention pooling, as SigLIP's"),
    ("patch_embed.backbone", "an encoder on a convolutional network"),
    ("pre_logits", "a head with a hidden layer"),
];

/// A tensor of a file.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Its name in the file.
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
}

/// The tensors of a set by the names that [`World::links`] gives.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) world: World,
    /// The set's key in the file.
    pub(super) key: String,
    pub(super) tensors: BTreeMap<String, Listed>,
}

impl Listing {
    /// Finds out whose names the tensors of a set have.
    pub(super) fn new(key: &str, entries: &[Entry]) -> Result<Listing, String> {
        if entries.is_empty() {
            return Err("it holds no tensors".into());
        }
        let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        while let Some(prefix) = PREFIXES.iter().find(|prefix| names.iter().all(|name| name.starts_with(**prefix))) {
            names.iter_mut().for_each(|name| *name = &name[prefix.len()..]);
        }
        let world = World::of(names.iter().copied());
        let mut tensors = BTreeMap::new();
        for (name, Entry { name: held, dtype, shape }) in names.into_iter().zip(entries) {
            let listed = Listed { name: held.clone(), dtype: *dtype, shape: shape.clone() };
            if let Some(other) = tensors.insert(world.spelled(name), listed) {
                return Err(format!("`{}` and `{}` are the same tensor by two names", shown(&other.name), shown(held)));
            }
        }
        Ok(Listing { world, key: key.into(), tensors })
    }

    /// The shape of the tensor that a parameter of this program is made of, if there is one.
    pub(super) fn shape(&self, own: &str) -> Option<&[usize]> {
        let links = self.world.links(own)?;
        self.tensors.get(&links[0].theirs.name).map(|listed| &listed.shape[..])
    }

    /// How many blocks there are from 0 on; `at` is what parameters begin with here.
    pub(super) fn blocks(&self, at: &str) -> usize {
        (0..).take_while(|block| self.shape(&format!("{at}.{block}.norm1.weight")).is_some()).count()
    }

    /// A tensor that only networks of another kind have.
    pub(super) fn alien(&self) -> Option<&str> {
        let alien =
            |name: &&String| !self.world.is_optional(name) && REFUSED.iter().any(|(part, _)| name.contains(part));
        self.tensors.keys().find(alien).map(String::as_str)
    }

    /// Why a tensor that nothing here is made of means that the file cannot be read.
    pub(super) fn refusal(&self, name: &str) -> String {
        let held = shown(&self.tensors[name].name).into_owned();
        match REFUSED.iter().find(|(part, _)| name.contains(part)) {
            Some((_, what)) => format!("`{held}` is of {what}; such networks are not read"),
            None => format!("`{held}` is not understood, and without it the network might be another one"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[&str]) -> Vec<Entry> {
        names.iter().map(|name| Entry { name: (*name).into(), dtype: Dtype::F32, shape: vec![2] }).collect()
    }

    fn names(held: &[&str]) -> (World, Vec<String>) {
        let listing = Listing::new("", &entries(held)).unwrap();
        (listing.world, listing.tensors.into_keys().collect())
    }

    #[test]
    fn prefixes_of_all_names_are_left_out() {
        assert_eq!(names(&["module.model.cls_token", "module.model.norm.bias"]).1, ["cls_token", "norm.bias"]);
        assert_eq!(
            names(&["encoder.cls_token", "encoder.blocks.0.norm1.bias"]).1,
            ["blocks.0.norm1.bias", "cls_token"]
        );
        let (world, held) = names(&["encoder.layer.0.layernorm_before.weight", "embeddings.cls_token"]);
        assert_eq!((world, &*held[1]), (World::HuggingFace, "encoder.layer.0.layernorm_before.weight"));
        assert_eq!(names(&["cls_token", "blocks.0.attn.q_bias"]).0, World::Bootmae);
    }

    #[test]
    fn one_tensor_by_two_names_is_refused() {
        let both = ["layers.0.layernorm_before.weight", "vit.encoder.layer.0.layernorm_before.weight"];
        assert!(Listing::new("", &entries(&both)).unwrap_err().contains("by two names"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let held = ["cls_token", "dist_token", "blocks.0.attn.q_norm.weight", "blocks.0.mlp.w12.weight", "neck.weight"];
        let listing = Listing::new("", &entries(&held)).unwrap();
        let parts = ["distilled DeiT", "queries and keys", "SwiGLU", "`neck.weight` is not understood"];
        for (name, part) in held[1..].iter().zip(parts) {
            assert!(listing.refusal(name).contains(part), "{name}: {}", listing.refusal(name));
        }
    }
}
