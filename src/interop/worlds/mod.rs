//! Where others keep the parameters of this program: a table for each world of names. A table is read in both directions.

mod bootmae;
mod hugging_face;
mod mae;
mod table;

use serde::Serialize;

use table::{Qkv, Table};

/// Whose names the tensors of a file have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum World {
    /// LightDXY/BootMAE's, and BEiT's: the biases of q and v apart from the fused matrix.
    Bootmae,
    /// facebookresearch/mae's, timm's and DeiT's: one fused bias.
    Mae,
    /// Hugging Face's `vit` and `vit_mae`, as files of Transformers 4 have them: q, k and v apart.
    HuggingFace,
}

/// One of several equal parts of a tensor's rows (the extent of its first axis).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The tensor.
    pub name: String,
    /// Which part, from 0.
    pub part: usize,
    /// How many there are.
    pub of: usize,
}

/// How the rows of a part here follow from those of the part there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// They are the same.
    Same,
    /// There the channels of a pixel stand side by side, here the pixels of a channel do:
    /// [`channels_first`](crate::model::channels_first) leads here, [`channels_last`](crate::model::channels_last) back.
    PixelRows,
}

/// Rows that are the same here and there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The part here; none where there are zeros in theirs, whose values change nothing (the bias of keys).
    pub own: Option<Part>,
    /// The part there.
    pub theirs: Part,
    /// In which order.
    pub order: Order,
}

impl Part {
    fn whole(name: impl Into<String>) -> Part {
        Part { name: name.into(), part: 0, of: 1 }
    }
}

fn same(own: Part, theirs: Part) -> Link {
    Link { own: Some(own), theirs, order: Order::Same }
}

impl World {
    fn table(self) -> &'static Table {
        match self {
            World::Bootmae => &bootmae::TABLE,
            World::Mae => &mae::TABLE,
            World::HuggingFace => &hugging_face::TABLE,
        }
    }

    /// What a person calls it.
    pub fn title(self) -> &'static str {
        match self {
            World::Bootmae => "BootMAE",
            World::Mae => "MAE, timm or DeiT",
            World::HuggingFace => "Hugging Face",
        }
    }

    /// Where the values of a parameter of [`inventory`](crate::model::inventory) or of a classifier stand; none where this
    /// world has no such parameter.
    pub fn links(self, own: &str) -> Option<Vec<Link>> {
        let table = self.table();
        let (place, theirs) = table.places.iter().find(|(place, _)| own.starts_with(place))?;
        let rest = &own[place.len()..];
        let whole = || Part::whole(own);
        let Some((block, leaf)) = rest.split_once('.').filter(|_| place.ends_with("blocks.")) else {
            let pixels = table.pixel_rows && *place == "pixel_decoder.head.";
            let order = if pixels { Order::PixelRows } else { Order::Same };
            return Some(vec![Link { own: Some(whole()), theirs: Part::whole(format!("{theirs}{rest}")), order }]);
        };
        let at = |leaf: &str| format!("{theirs}{block}.{leaf}");
        let third = |name: String, part| Part { name, part, of: 3 };
        let zeros = |theirs| Link { own: None, theirs, order: Order::Same };
        Some(match (&table.qkv, leaf) {
            (Qkv::Fused, "attn.q_bias") => {
                let bias = || at("attn.qkv.bias");
                vec![same(whole(), third(bias(), 0)), zeros(third(bias(), 1))]
            }
            (Qkv::Fused, "attn.v_bias") => vec![same(whole(), third(at("attn.qkv.bias"), 2))],
            (Qkv::Apart(names), "attn.qkv.weight") => {
                let weight = |(part, name)| same(third(own.into(), part), Part::whole(at(&format!("{name}.weight"))));
                names.iter().enumerate().map(weight).collect()
            }
            (Qkv::Apart([q, k, _]), "attn.q_bias") => {
                let bias = |name| Part::whole(at(&format!("{name}.bias")));
                vec![same(whole(), bias(q)), zeros(bias(k))]
            }
            (Qkv::Apart([_, _, v]), "attn.v_bias") => vec![same(whole(), Part::whole(at(&format!("{v}.bias"))))],
            _ => {
                let renamed = table
                    .leaves
                    .iter()
                    .find_map(|(here, there)| leaf.strip_prefix(here).map(|rest| format!("{there}{rest}")));
                vec![same(whole(), Part::whole(at(renamed.as_deref().unwrap_or(leaf))))]
            }
        })
    }

    /// The name of the encoder's table of positions `[1, 1 + patches, width]`.
    pub fn positions(self) -> &'static str {
        self.table().positions
    }

    /// The name of the pixel decoder's table of positions `[1, 1 + patches, decoder width]`.
    pub fn decoder_positions(self) -> &'static str {
        self.table().decoder_positions
    }

    /// Whether a tensor may be passed over where nothing here is made of it: of a decoder, or a mask token.
    pub fn is_optional(self, theirs: &str) -> bool {
        self.table().optional.iter().any(|start| theirs.starts_with(start))
    }

    /// A name in the spelling of [`World::links`]: Transformers 5 has others in memory, and a third one for the decoders of its
    /// files.
    pub fn spelled(self, name: &str) -> String {
        match self {
            World::HuggingFace => hugging_face::spelled(name),
            World::Bootmae | World::Mae => name.into(),
        }
    }

    /// The world of a set of tensors, by their names.
    pub fn of<'n>(names: impl Iterator<Item = &'n str> + Clone) -> World {
        let any = |ends: &[&str]| names.clone().any(|name| ends.iter().any(|end| name.ends_with(end)));
        if any(&[".position_embeddings", ".layernorm_before.weight", ".layernorm_after.weight"]) {
            World::HuggingFace
        } else if any(&[".attn.q_bias", ".relative_position_bias_table"])
            || names.clone().any(|name| name.starts_with("decode_blocks") || name == "de_pos_embed")
        {
            World::Bootmae
        } else {
            World::Mae
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelConfig, inventory};
    use std::collections::BTreeMap;

    /// Names and shapes of a checkpoint, a line each.
    fn listing(text: &str) -> BTreeMap<String, Vec<usize>> {
        let line = |line: &str| {
            let (name, shape) = line.split_once('\t').unwrap();
            (name.to_owned(), serde_json::from_str(shape).unwrap())
        };
        text.lines().map(line).collect()
    }

    /// What is left of a listing when every parameter of a network has taken its tensors.
    fn left(world: World, preset: &str, mut held: BTreeMap<String, Vec<usize>>) -> Vec<String> {
        for param in inventory(&ModelConfig::preset(preset).unwrap()) {
            for link in world.links(&param.name).unwrap() {
                let mut shape = param.shape.clone();
                shape[0] = shape[0] / link.own.as_ref().map_or(1, |own| own.of) * link.theirs.of;
                // A part of a tensor stands for all of it.
                let part = link.theirs.part + 1 == link.theirs.of;
                let found = if part { held.remove(&link.theirs.name) } else { held.get(&link.theirs.name).cloned() };
                assert_eq!(found, Some(shape), "{} for {}", link.theirs.name, param.name);
            }
        }
        held.into_keys().collect()
    }

    /// The listings were printed from the constructors of LightDXY/BootMAE.
    #[test]
    fn every_tensor_of_the_published_networks_has_its_place() {
        for (preset, text) in [
            ("base", include_str!("../../../tests/fixtures/interop/official_keys_base.txt")),
            ("large", include_str!("../../../tests/fixtures/interop/official_keys_large.txt")),
        ] {
            let rest = left(World::Bootmae, preset, listing(text));
            assert_eq!(rest, [World::Bootmae.decoder_positions(), World::Bootmae.positions()], "{preset}");
        }
    }

    #[test]
    fn names_are_those_of_their_worlds() {
        let name = |world: World, own: &str| {
            let links = world.links(own).unwrap();
            links.into_iter().map(|link| link.theirs.name).collect::<Vec<_>>()
        };
        let qkv = "blocks.3.attn.qkv.weight";
        assert_eq!(name(World::Mae, qkv), [qkv]);
        assert_eq!(
            name(World::HuggingFace, qkv),
            ["query", "key", "value"].map(|part| format!("encoder.layer.3.attention.attention.{part}.weight"))
        );
        assert_eq!(name(World::Mae, "pixel_decoder.blocks.0.norm2.bias"), ["decoder_blocks.0.norm2.bias"]);
        assert_eq!(World::Mae.links("pixel_decoder.head.bias").unwrap()[0].order, Order::PixelRows);
        assert_eq!(
            name(World::HuggingFace, "pixel_decoder.blocks.1.mlp.fc2.bias"),
            ["decoder.decoder_layers.1.output.dense.bias"]
        );
        assert_eq!(World::Mae.links("feature_decoder.embed.weight"), None);
        assert_eq!(World::HuggingFace.links("fc_norm.weight"), None);
        for (spelled, name) in [
            ("vit.layers.1.attention.o_proj.bias", "encoder.layer.1.attention.output.dense.bias"),
            ("vit.encoder.layer.1.output.dense.bias", "encoder.layer.1.output.dense.bias"),
            ("layers.0.mlp.fc2.weight", "encoder.layer.0.output.dense.weight"),
            (
                "decoder.decoder_layers.0.attention.q_proj.bias",
                "decoder.decoder_layers.0.attention.attention.query.bias",
            ),
            (
                "decoder.decoder_encoder.layer.0.attention.output.dense.bias",
                "decoder.decoder_layers.0.attention.output.dense.bias",
            ),
        ] {
            assert_eq!(World::HuggingFace.spelled(spelled), name);
        }
    }

    #[test]
    fn the_bias_of_keys_is_zeros() {
        for (world, name) in [
            (World::Mae, "blocks.0.attn.qkv.bias"),
            (World::HuggingFace, "encoder.layer.0.attention.attention.key.bias"),
        ] {
            let links = world.links("blocks.0.attn.q_bias").unwrap();
            let zeros: Vec<_> = links.iter().filter(|link| link.own.is_none()).map(|link| &link.theirs).collect();
            assert_eq!((zeros.len(), zeros[0].name.as_str()), (1, name));
        }
        assert!(World::Bootmae.links("blocks.0.attn.q_bias").unwrap().iter().all(|link| link.own.is_some()));
    }
}
