//! What there is to know of a file of weights, also of one that cannot be read as a network.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    asked::{Asked, Imported},
    import,
    known::Known,
    plan::Plan,
    worlds::World,
};
use crate::{
    checkpoint::Model,
    data::Normalisation,
    formats::weights::WeightFile,
    model::{Pool, config::Kind, of_decoder},
    nn::PositionOrder,
};

/// A file of weights.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// How it is written: `bootmae`, `safetensors`, `torch zip`, `torch before 1.6`.
    pub file: String,
    /// Whose names its tensors have; none for this program's own, and where that was not found out.
    pub world: Option<World>,
    /// The sets of weights.
    pub sets: Vec<Set>,
    /// The set that is read.
    pub key: Option<String>,
    /// The network, where it can be read.
    pub network: Option<Network>,
    /// Why it cannot.
    pub refused: Option<String>,
    /// What was settled without the file, and what is left out.
    pub notes: Vec<String>,
    /// The commands that take it.
    pub commands: Vec<&'static str>,
    /// Classes and functions that the file names, none of which was called.
    pub passed_over: Vec<String>,
    /// Strings and numbers beside the weights, such as `epoch`.
    pub said: BTreeMap<String, String>,
    /// The tensors of every set.
    pub tensors: Vec<Tensor>,
}

/// A set of weights in a file.
#[derive(Clone, Debug, Serialize)]
pub struct Set {
    /// Its key; empty for the root of the file.
    pub key: String,
    /// Tensors.
    pub tensors: usize,
    /// Their values.
    pub values: usize,
}

/// A tensor of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Tensor {
    /// The key of its set.
    pub set: String,
    /// Its name.
    pub name: String,
    /// The type of its values.
    pub dtype: String,
    /// Extent of each axis, outermost first.
    pub shape: Vec<usize>,
    /// The parameters here that are made of it; none where nothing is.
    pub fills: Vec<String>,
}

/// The network of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Network {
    /// BootMAE's or MAE's: what decoders and pretraining follow.
    pub kind: Kind,
    /// Steps of this program that made it.
    pub step: u64,
    /// Width of the encoder.
    pub width: usize,
    /// Its blocks.
    pub depth: usize,
    /// Its attention heads.
    pub heads: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Input height in pixels.
    pub image_height: usize,
    /// Input width in pixels.
    pub image_width: usize,
    /// Colour channels.
    pub channels: usize,
    /// Epsilon of norms.
    pub layer_norm_eps: f32,
    /// What pixels are normalised by.
    pub normalise: Normalisation,
    /// The order of computed positions; none where they are a table of the file's.
    pub positions: Option<PositionOrder>,
    /// Whether it has the encoder's own final norm.
    pub norm: bool,
    /// Width and blocks of its pixel decoder, if it has one.
    pub decoder: Option<[usize; 2]>,
    /// Whether it has a teacher, or a moving average.
    pub average: bool,
    /// What its head looks at, if it has one.
    pub pool: Option<Pool>,
    /// The classes of the head.
    pub classes: Vec<String>,
    /// Values of its parameters, without those of the teacher.
    pub parameters: usize,
}

impl Network {
    fn of(model: &Model) -> Network {
        let config = &model.config.model;
        let holds = |name: &str| model.tensors.iter().any(|tensor| tensor.name == name);
        let decoder = model.tensors.iter().any(|tensor| of_decoder(&tensor.name));
        let classifier = model.config.classifier.as_ref();
        Network {
            kind: config.kind,
            step: model.step,
            width: config.width,
            depth: config.depth,
            heads: config.heads,
            patch_size: config.patch_size,
            image_height: config.image_height,
            image_width: config.image_width,
            channels: config.channels,
            layer_norm_eps: config.layer_norm_eps,
            normalise: config.normalise,
            positions: (!holds("pos_embed")).then_some(config.positions),
            norm: holds("norm.weight"),
            decoder: decoder.then_some([config.pixel_decoder_width, config.decoder_depth]),
            average: model.teacher.is_some(),
            pool: classifier.map(|classifier| classifier.pool),
            classes: classifier.map(|classifier| classifier.classes.clone()).unwrap_or_default(),
            parameters: model.tensors.iter().map(|tensor| tensor.data.len()).sum(),
        }
    }

    /// The commands that take it.
    fn commands(&self) -> Vec<&'static str> {
        let mut commands = vec!["embed", "knn", "probe", "finetune", "pretrain --init-from", "export"];
        commands.extend(self.pool.map(|_| "predict"));
        commands.extend(self.decoder.map(|_| "reconstruct"));
        commands
    }
}

impl About {
    /// One of this program's own checkpoints.
    pub(super) fn own(model: &Model) -> About {
        let network = Network::of(model);
        let groups = [("", Some(&model.tensors)), ("teacher", model.teacher.as_ref())];
        let groups = groups.into_iter().filter_map(|(key, tensors)| Some((key, tensors?)));
        let set = |(key, tensors): (&str, &Vec<_>)| Set {
            key: key.into(),
            tensors: tensors.len(),
            values: tensors.iter().map(|tensor: &crate::train::snapshot::NamedTensor| tensor.data.len()).sum(),
        };
        let tensors = groups.clone().flat_map(|(key, tensors)| {
            tensors.iter().map(move |tensor| Tensor {
                set: key.into(),
                name: tensor.name.clone(),
                dtype: "F32".into(),
                shape: tensor.shape.clone(),
                fills: vec![tensor.name.clone()],
            })
        });
        About {
            file: "bootmae".into(),
            world: None,
            sets: groups.clone().map(set).collect(),
            key: None,
            commands: network.commands(),
            network: Some(network),
            refused: None,
            notes: Vec::new(),
            passed_over: Vec::new(),
            said: BTreeMap::new(),
            tensors: tensors.collect(),
        }
    }

    /// A file of another program. The values of the network are read, so that what is said of it is true.
    pub(super) fn foreign(file: &WeightFile, known: &Known, asked: &Asked) -> About {
        let planned = import::plan(file, known, asked);
        let (key, world) = match &planned {
            Ok(plan) => (Some(plan.listing.key.clone()), Some(plan.listing.world)),
            Err(_) => import::chosen(file, asked).ok().map(|listing| (listing.key, listing.world)).unzip(),
        };
        let fills = planned.as_ref().map(fills).unwrap_or_default();
        let (network, notes, refused) = match planned.and_then(|plan| import::read(file, plan, asked)) {
            Ok(Imported { model, notes, .. }) => (Some(Network::of(&model)), notes, None),
            Err(reason) => (None, Vec::new(), Some(reason)),
        };
        let entries = |key: &str| file.entries(key).unwrap_or_default().iter();
        let set = |held: &str| Set {
            key: held.into(),
            tensors: entries(held).len(),
            values: entries(held).map(|entry| entry.shape.iter().product::<usize>()).sum(),
        };
        let tensors = file.keys().into_iter().flat_map(|held| {
            let read = key.as_deref() == Some(held);
            let fills = &fills;
            entries(held).map(move |entry| Tensor {
                set: held.into(),
                name: entry.name.clone(),
                dtype: entry.dtype.to_string(),
                shape: entry.shape.clone(),
                fills: fills.get(&entry.name).filter(|_| read).cloned().unwrap_or_default(),
            })
        });
        About {
            file: file.kind().to_string(),
            world,
            sets: file.keys().into_iter().map(set).collect(),
            tensors: tensors.collect(),
            key,
            commands: network.as_ref().map(Network::commands).unwrap_or_default(),
            network,
            refused,
            notes,
            passed_over: file.passed_over().to_vec(),
            said: file.notes().clone(),
        }
    }
}

/// What is made of each tensor of a plan's set.
fn fills(plan: &Plan) -> BTreeMap<String, Vec<String>> {
    let mut fills: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut fill = |theirs: &str, own: &str| {
        if let Some(listed) = plan.listing.tensors.get(theirs) {
            let fills = fills.entry(listed.name.clone()).or_default();
            if !fills.iter().any(|held| held == own) {
                fills.push(own.into());
            }
        }
    };
    for made in &plan.made {
        made.links.iter().filter(|link| link.own.is_some()).for_each(|link| fill(&link.theirs.name, &made.param.name));
        made.scale.iter().for_each(|scale| fill(scale, &made.param.name));
    }
    fill(plan.listing.world.positions(), "pos_embed");
    fills
}
