//! A network's tensors with the names and in the layout of others.

use std::borrow::Cow;

use half::f16;

use super::{Features, Source, Task};
use crate::{
    error::{Error, Result},
    formats::tensors::Written,
    interop::worlds::{Order, World},
    model::{channels_last, inventory, of_encoder, position_tables},
    nn::Param,
};

/// A tensor about to be written.
#[derive(Clone, Debug)]
pub struct Foreign<'m> {
    /// Its name there.
    pub name: String,
    /// Extent of each axis, outermost first.
    pub shape: Vec<usize>,
    /// Its values in row-major order.
    pub values: Cow<'m, [f32]>,
}

/// Some of the rows of a tensor.
struct Piece<'m> {
    part: usize,
    values: Cow<'m, [f32]>,
}

/// A tensor that is being put together of equal parts.
struct Parts<'m> {
    name: String,
    shape: Vec<usize>,
    of: usize,
    pieces: Vec<Piece<'m>>,
}

/// The tensors of a network with the names of a world: parameters in the order of the forward pass, then tables of positions.
///
/// # Errors
/// When the checkpoint lacks a tensor, or the world has no place for one.
pub(super) fn tensors<'m>(source: &Source<'m>, world: World, task: Task) -> Result<Vec<Foreign<'m>>> {
    let mut found: Vec<Parts<'m>> = Vec::new();
    for param in params(source, task)? {
        let values = source.get(&param.name, &param.shape)?;
        let links = world
            .links(&param.name)
            .ok_or_else(|| Error::Config(format!("{} has no tensor for `{}`", world.title(), param.name)))?;
        for link in links {
            let (part, of) = link.own.as_ref().map_or((0, 1), |own| (own.part, own.of));
            let length = values.len() / of;
            let rows = &values[part * length..][..length];
            let values = match (&link.own, link.order) {
                (None, _) => Cow::Owned(vec![0.0; length]),
                (_, Order::Same) => Cow::Borrowed(rows),
                (_, Order::PixelRows) => {
                    Cow::Owned(channels_last(rows, source.model.channels, param.len() / param.shape[0]))
                }
            };
            let piece = Piece { part: link.theirs.part, values };
            match found.iter_mut().find(|parts| parts.name == link.theirs.name) {
                Some(parts) => parts.pieces.push(piece),
                None => {
                    let mut shape = param.shape.clone();
                    shape[0] = shape[0] / of * link.theirs.of;
                    found.push(Parts { name: link.theirs.name, shape, of: link.theirs.of, pieces: vec![piece] });
                }
            }
        }
    }
    let mut tensors: Vec<Foreign<'m>> = found.into_iter().map(Parts::whole).collect();
    let model = source.model;
    let table = |name: &str, width: usize, values| Foreign {
        name: name.into(),
        shape: vec![1, 1 + model.patches(), width],
        values,
    };
    tensors.push(table(world.positions(), model.width, source.positions()?));
    if task == Task::Pretraining {
        let width = model.pixel_decoder_width;
        let [_, (_, cells)] = position_tables(model);
        tensors.push(table(world.decoder_positions(), width, Cow::Owned([vec![0.0; width], cells].concat())));
    }
    Ok(tensors)
}

/// The parameters that a task takes, as they are named here.
fn params(source: &Source<'_>, task: Task) -> Result<Vec<Param>> {
    let all = inventory(source.model);
    match (task, source.classifier) {
        (Task::Classes, Some(classifier)) => {
            let params = classifier.inventory(source.model, 1.0, false).into_iter();
            Ok(params.filter(|param| param.name != "pos_embed").collect())
        }
        (Task::Classes, None) => {
            let reason = "it has no classifier; `bootmae finetune --checkpoint` trains one on it";
            Err(Error::checkpoint("the checkpoint", reason))
        }
        (Task::Features(Features { blocks, final_norm, .. }), _) => {
            let runs = |name: &str| {
                let block = name.strip_prefix("blocks.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
                block.is_none_or(|block| block < blocks)
            };
            let wanted = |name: &str| (of_encoder(name) && runs(name)) || (final_norm && name.starts_with("norm."));
            Ok(all.into_iter().filter(|param| wanted(&param.name)).collect())
        }
        (Task::Pretraining, _) => Ok(all),
    }
}

impl<'m> Parts<'m> {
    /// The tensor of all parts.
    ///
    /// # Panics
    /// When a part is missing: a table of names that leaves rows of a tensor open.
    fn whole(mut self) -> Foreign<'m> {
        assert_eq!(self.pieces.len(), self.of, "parts of {}", self.name);
        self.pieces.sort_by_key(|piece| piece.part);
        let values = match self.pieces.len() {
            1 => self.pieces.remove(0).values,
            _ => Cow::Owned(self.pieces.iter().flat_map(|piece| piece.values.iter().copied()).collect()),
        };
        Foreign { name: self.name, shape: self.shape, values }
    }
}

impl Foreign<'_> {
    /// The tensor as files are written of.
    pub fn written(&self) -> Written<'_> {
        Written { name: self.name.clone(), shape: &self.shape, values: &self.values }
    }
}

/// Refuses values that half precision rounds to infinity, 65520 and more.
pub fn fits_half(name: &str, values: &[f32]) -> Result<()> {
    match values.iter().find(|value| !f16::from_f32(**value).is_finite()) {
        Some(value) => Err(Error::Config(format!(
            "--precision f16: `{name}` holds {value}, which is beyond half precision; take f32"
        ))),
        None => Ok(()),
    }
}
