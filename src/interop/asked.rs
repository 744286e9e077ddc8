//! What a person says of a file, and what is made of it.

use super::worlds::World;
use crate::{
    checkpoint::Model,
    data::Normalisation,
    error::{Error, Result},
};

/// What a person says of a file that does not say it, or not rightly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// The set of weights, by its key in the file: `model`, `model_ema`.
    pub key: Option<String>,
    /// Attention heads of the encoder.
    pub heads: Option<usize>,
    /// What pixels are normalised by.
    pub normalisation: Option<Normalisation>,
    /// The share of a picture's shorter side that evaluation shows.
    pub crop_share: Option<f64>,
    /// The side of square images, for which positions are resized; that of the table of positions without it.
    pub image_size: Option<usize>,
}

/// A network, and how it was come by.
#[derive(Debug)]
pub struct Imported {
    /// The network. One of another program has 0 steps, and no decoder where the file has none.
    pub model: Model,
    /// Whose names its tensors had; none for this program's own.
    pub world: Option<World>,
    /// What a person should know: what was settled without the file, what was left out.
    pub notes: Vec<String>,
}

impl Imported {
    /// A model of this program; it says everything itself.
    pub(super) fn own(model: Model, asked: &Asked) -> Result<Imported> {
        let flags = [
            ("a key", asked.key.is_some()),
            ("heads", asked.heads.is_some()),
            ("a normalisation", asked.normalisation.is_some()),
            ("a crop share", asked.crop_share.is_some()),
            ("an image size", asked.image_size.is_some()),
        ];
        match flags.iter().find(|(_, given)| *given) {
            Some((what, _)) => Err(Error::Config(format!(
                "{what} is for weights of other programs; this checkpoint is of this one and says it itself"
            ))),
            None => Ok(Imported { model, world: None, notes: Vec::new() }),
        }
    }
}
