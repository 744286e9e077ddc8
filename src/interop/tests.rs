//! Networks written with the names of others and read again.

use std::{collections::BTreeMap, rc::Rc};

use super::{
    Asked, Description, Imported, Opened,
    worlds::{Order, World},
};
use crate::{
    checkpoint::Model,
    data::Normalisation,
    formats::tensors::{self, Written},
    model::{ClassifierConfig, ModelConfig, Pool, channels_last, config::Kind, config::PixelTarget, inventory},
    nn::{Param, PositionOrder, sincos},
    train::snapshot::NamedTensor,
};

/// A network whose parameters are drawn, and what is written of it.
struct Foreign {
    world: World,
    config: ModelConfig,
    own: Vec<NamedTensor>,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    metadata: BTreeMap<&'static str, String>,
}

impl Foreign {
    fn new(world: World, decoders: bool) -> Foreign {
        let preset = if world == World::Bootmae { "nano" } else { "mae-nano" };
        let config = ModelConfig {
            width: 16,
            depth: 2,
            heads: 2,
            pixel_decoder_width: 20,
            decoder_depth: 1,
            feature_tap: 1,
            ..ModelConfig::preset(preset).unwrap().with_size(12, 12, 4)
        };
        let mut foreign = Foreign {
            world,
            own: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: BTreeMap::from([("format", "pt".to_owned())]),
            config,
        };
        let wanted = |param: &Param| decoders || !param.name.contains("decoder");
        inventory(&foreign.config.clone()).into_iter().filter(wanted).for_each(|param| foreign.add(param));
        foreign.table(world.positions(), 16);
        if decoders {
            foreign.table(world.decoder_positions(), 20);
        }
        foreign
    }

    fn table(&mut self, name: &str, width: usize) {
        let (rows, cols) = self.config.grid();
        let table = [vec![0.0; width], sincos(rows, cols, width, self.config.positions)].concat();
        self.tensors.insert(name.into(), (vec![1, 1 + rows * cols, width], table));
    }

    /// Writes a parameter where its world keeps it, as the table says.
    fn add(&mut self, param: Param) {
        // Zeros and ones would not show where they went.
        let data = Param { init: crate::nn::Init::Normal(0.1), ..param.clone() }.initial(7);
        for link in self.world.links(&param.name).unwrap() {
            let parts = link.own.as_ref().map_or(1, |own| own.of);
            let mut shape = param.shape.clone();
            shape[0] = shape[0] / parts * link.theirs.of;
            let values = self.tensors.entry(link.theirs.name.clone()).or_insert((shape, vec![]));
            values.1.resize(data.len() / parts * link.theirs.of, 0.0);
            let part = data.len() / parts;
            let to = &mut values.1[link.theirs.part * part..][..part];
            match (&link.own, link.order) {
                (None, _) => to.fill(3.0),
                (Some(own), Order::Same) => to.copy_from_slice(&data[own.part * part..][..part]),
                (Some(_), Order::PixelRows) => {
                    to.copy_from_slice(&channels_last(&data, self.config.channels, data.len() / param.shape[0]));
                }
            }
        }
        self.own.push(NamedTensor { name: param.name, shape: param.shape, data });
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = self.tensors.iter().map(|(name, (shape, values))| Written { name: name.clone(), shape, values });
        tensors::write(&mut bytes, &self.metadata, &written.collect::<Vec<_>>()).unwrap();
        bytes
    }

    fn read(&self, asked: &Asked) -> Result<Imported, String> {
        let opened = Opened::new("x", Rc::new(self.bytes()), None).map_err(|e| e.to_string())?;
        let read = opened.read(asked).map_err(|e| e.to_string());
        let bytes = opened.bytes(asked).ok();
        if let Ok(read) = &read {
            let tensors = read.model.tensors.iter().chain(read.model.teacher.iter().flatten());
            let held = tensors.map(|tensor| tensor.data.len() as u64 * 4).sum::<u64>();
            assert!(bytes.is_some_and(|bytes| bytes >= held), "{bytes:?} for {held} bytes of values");
        }
        read
    }

    fn refusal(&self) -> String {
        self.read(&two_heads()).unwrap_err()
    }
}

fn two_heads() -> Asked {
    Asked { heads: Some(2), ..Asked::default() }
}

fn sorted(mut tensors: Vec<NamedTensor>) -> Vec<NamedTensor> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

#[test]
fn what_a_table_writes_it_reads() {
    for world in [World::Bootmae, World::Mae, World::HuggingFace] {
        for decoders in [true, false] {
            let foreign = Foreign::new(world, decoders);
            let Imported { model, world: found, notes } = foreign.read(&two_heads()).unwrap();
            assert!(sorted(model.tensors) == sorted(foreign.own), "{world:?}");
            assert_eq!(found, Some(world));
            let config = &model.config.model;
            let order = if world == World::Bootmae { PositionOrder::Rows } else { PositionOrder::Columns };
            assert_eq!((config.positions, config.grid(), config.heads), (order, (3, 3), 2));
            assert_eq!(config.layer_norm_eps, if world == World::HuggingFace { 1e-12 } else { 1e-6 });
            let drops = notes.iter().any(|note| note.contains("biases of keys"));
            assert_eq!(drops, world != World::Bootmae, "{notes:?}");
            if decoders {
                assert_eq!((config.pixel_decoder_width, config.decoder_depth), (20, 1));
            }
        }
    }
}

#[test]
fn heads_are_asked_for_or_said() {
    let mut foreign = Foreign::new(World::Mae, false);
    assert!(foreign.read(&Asked::default()).unwrap_err().contains("--heads"));
    assert!(foreign.read(&Asked { heads: Some(5), ..Asked::default() }).unwrap_err().contains("5 heads"));
    let description = Description {
        kind: Kind::Bootmae,
        heads: 4,
        decoder_heads: None,
        layer_norm_eps: 1e-5,
        normalise: Normalisation::INCEPTION,
        crop_share: Some(0.9),
        grid: None,
        pixel_target: Some(PixelTarget::Raw),
        classes: vec![],
    };
    foreign.metadata.insert(Description::KEY, serde_json::to_string(&description).unwrap());
    let config = foreign.read(&Asked::default()).unwrap().model.config.model;
    assert_eq!((config.heads, config.kind, config.layer_norm_eps), (4, Kind::Bootmae, 1e-5));
    assert_eq!((config.normalise, config.crop_share), (Normalisation::INCEPTION, Some(0.9)));
    foreign.metadata.insert(Description::KEY, "{".into());
    assert!(foreign.refusal().contains("the metadata `bootmae`"));
}

#[test]
fn what_is_not_understood_or_wrong_is_named() {
    let with = |name: &str, shape: &[usize]| {
        let mut foreign = Foreign::new(World::Mae, true);
        foreign.tensors.insert(name.into(), (shape.into(), vec![0.5; shape.iter().product()]));
        foreign.refusal()
    };
    assert!(with("dist_token", &[1, 1, 16]).contains("distilled DeiT"));
    assert!(with("neck.weight", &[2]).contains("`neck.weight` is not understood"));
    assert!(with("blocks.1.norm2.weight", &[15]).contains("has shape [15]"));
    assert!(with("blocks.0.mlp.fc1.weight", &[60, 16]).contains("has shape [60, 16]"));
    assert!(with("pos_embed", &[1, 9, 16]).contains("none for the class token"));
    assert!(with("pos_embed", &[1, 12, 16]).contains("12 rows"));
    assert!(with("head.weight", &[3, 17]).contains("has shape [3, 17]"));
    let without = |name: &str| {
        let mut foreign = Foreign::new(World::Mae, false);
        foreign.tensors.remove(name).unwrap();
        foreign.refusal()
    };
    assert!(without("cls_token").contains("no class token"));
    assert!(without("blocks.1.mlp.fc2.weight").contains("`blocks.1.mlp.fc2.weight`"));
    let mut foreign = Foreign::new(World::Mae, false);
    foreign.tensors.get_mut("blocks.1.norm2.bias").unwrap().1[3] = f32::NAN;
    assert!(foreign.refusal().contains("blocks.1.norm2.bias"));
}

#[test]
fn what_may_be_missing_is_zeros_or_left_out() {
    let mut foreign = Foreign::new(World::Mae, true);
    foreign.tensors.retain(|name, _| !name.ends_with("qkv.bias"));
    foreign.tensors.insert("decoder_extra.weight".into(), (vec![1], vec![0.0]));
    let Imported { model, notes, .. } = foreign.read(&two_heads()).unwrap();
    let named = |name: &str| model.tensors.iter().find(|tensor| tensor.name == name);
    assert!(named("blocks.1.attn.v_bias").unwrap().data.iter().all(|v| *v == 0.0));
    assert!(named("pixel_decoder.embed.weight").is_none(), "a decoder that is not understood");
    let all = notes.join("\n");
    assert!(all.contains("4 biases") && all.contains("decoder_extra.weight"), "{all}");
}

#[test]
fn a_decoder_with_other_positions_is_left_out() {
    let mut foreign = Foreign::new(World::Mae, true);
    foreign.tensors.get_mut("decoder_pos_embed").unwrap().1.fill(0.0);
    let Imported { model, notes, .. } = foreign.read(&two_heads()).unwrap();
    assert!(!model.tensors.iter().any(|tensor| tensor.name.contains("decoder")));
    assert!(notes.iter().any(|note| note.contains("`decoder_pos_embed` is not the sine-cosine table")), "{notes:?}");
}

#[test]
fn layer_scale_is_folded_in() {
    let mut foreign = Foreign::new(World::Mae, false);
    let scale: Vec<f32> = (0..16).map(|v| v as f32).collect();
    for (block, name) in [(0, "ls1.gamma"), (1, "gamma_2")] {
        foreign.tensors.insert(format!("blocks.{block}.{name}"), (vec![16], scale.clone()));
    }
    let model = foreign.read(&two_heads()).unwrap().model;
    for (name, scaled) in [("blocks.0.attn.proj", true), ("blocks.1.mlp.fc2", true), ("blocks.0.mlp.fc2", false)] {
        for (name, row) in
            [(format!("{name}.weight"), 16 * if name.ends_with("fc2") { 4 } else { 1 }), (format!("{name}.bias"), 1)]
        {
            let of = |tensors: &[NamedTensor]| tensors.iter().find(|tensor| tensor.name == name).unwrap().data.clone();
            let wanted = of(&foreign.own);
            let wanted = wanted.iter().enumerate().map(|(at, v)| if scaled { v * scale[at / row] } else { *v });
            assert!(of(&model.tensors).into_iter().eq(wanted), "{name}");
        }
    }
    foreign.tensors.insert("blocks.1.ls2.gamma".into(), (vec![16], scale));
    assert!(foreign.refusal().contains("no factor of a branch"), "two of one branch");
}

#[test]
fn positions_are_the_files() {
    let mut foreign = Foreign::new(World::Mae, false);
    let asked = Asked { image_size: Some(20), ..two_heads() };
    let resized = foreign.read(&asked).unwrap().model;
    let table = resized.tensors.iter().find(|tensor| tensor.name == "pos_embed").unwrap();
    assert_eq!((&table.shape[..], resized.config.model.grid()), (&[1, 26, 16][..], (5, 5)));
    assert!(foreign.read(&Asked { image_size: Some(22), ..two_heads() }).unwrap_err().contains("no whole patches"));
    let held = &mut foreign.tensors.get_mut("pos_embed").unwrap().1;
    held[40] += 0.25;
    let held = held.clone();
    let trained = foreign.read(&two_heads()).unwrap().model;
    assert_eq!(trained.tensors.iter().find(|tensor| tensor.name == "pos_embed").unwrap().data, held);
}

#[test]
fn heads_of_classifiers_are_taken() {
    let classifier = |pool: Pool| ClassifierConfig { classes: vec![String::new(); 3], pool, ..Default::default() };
    for (pool, norm) in [(Pool::Mean, "fc_norm."), (Pool::Cls, "norm.")] {
        let mut foreign = Foreign::new(World::Mae, false);
        foreign.tensors.retain(|name, _| !name.starts_with("norm."));
        foreign.own.retain(|tensor| !tensor.name.starts_with("norm."));
        let params = classifier(pool).inventory(&foreign.config, 1.0, false);
        params
            .into_iter()
            .filter(|param| param.name.starts_with(norm) || param.name.starts_with("head."))
            .for_each(|param| foreign.add(param));
        let Imported { model, .. } = foreign.read(&two_heads()).unwrap();
        let found = model.config.classifier.as_ref().unwrap();
        assert_eq!((found.pool, &found.classes[..]), (pool, &["0", "1", "2"].map(String::from)[..]));
        assert!(sorted(model.tensors.clone()) == sorted(foreign.own), "{pool:?}");
        let mut written = Vec::new();
        crate::checkpoint::weights(&model, tensors::Precision::F32, &mut written).unwrap();
        let again = Model::parse("x", &written).unwrap();
        assert!(again.config == model.config && sorted(again.tensors) == sorted(model.tensors), "as a model file");
        let asked = Opened::new("x", Rc::new(written), None).unwrap().read(&two_heads()).unwrap_err();
        assert!(matches!(asked, crate::error::Error::Config(_)), "{asked}");
    }
}
