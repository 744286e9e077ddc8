//! Files as facebookresearch/mae and LightDXY/BootMAE write them: a dictionary of tensors with their names.

use super::{Package, Source, Task, tensors::tensors};
use crate::{
    error::{Error, Result},
    interop::World,
    model::{Whose, config::Kind},
};

const LOAD: &str = "torch.load(\"{}\", weights_only=True)[\"model\"]";

/// A file for MAE's scripts: an encoder, MAE with its decoder, or a classifier.
///
/// # Errors
/// When MAE has no such network, or the checkpoint lacks a tensor.
pub fn mae<'m>(source: &Source<'m>, task: Task) -> Result<Package<'m>> {
    let model = source.model;
    super::even_heads(model.width, model.heads, "MAE")?;
    square(source, "MAE")?;
    if task == Task::Pretraining && model.kind != Kind::Mae {
        return Err(Error::Config(
            "MAE has no place for BootMAE's decoders; --task features writes the encoder".into(),
        ));
    }
    let mut package = Package::new(source, task, tensors(source, World::Mae, task)?, LOAD);
    package.notes.push(super::KEY_BIAS.into());
    normalised(&mut package, source, Kind::Mae, "mean and std of ImageNet");
    Ok(package)
}

/// A file for BootMAE's scripts: both decoders, and the momentum encoder as `model_ema` where there is one; an encoder, or a
/// classifier.
///
/// # Errors
/// When BootMAE has no such network, or the checkpoint lacks a tensor.
pub fn bootmae<'m>(source: &Source<'m>, task: Task) -> Result<Package<'m>> {
    let model = source.model;
    square(source, "BootMAE")?;
    if task == Task::Pretraining && !(model.kind == Kind::Bootmae && model.feature_branch && model.cross_attention) {
        let reason = "BootMAE's file has two decoders with cross-attention, and this network has not";
        return Err(Error::Config(format!("{reason}; --task features writes the encoder")));
    }
    let mut package = Package::new(source, task, tensors(source, World::Bootmae, task)?, LOAD);
    if source.whose == Whose::Student
        && task != Task::Classes
        && let Ok(teacher) = Source::new(source.checkpoint, Whose::Teacher)
    {
        let encoder = super::Features { blocks: model.depth, final_norm: teacher.has("norm.weight"), ..super::ENCODER };
        package.average = Some(tensors(&teacher, World::Bootmae, Task::Features(encoder))?);
    }
    normalised(&mut package, source, Kind::Bootmae, "mean = std = 0.5");
    Ok(package)
}

fn square(source: &Source<'_>, title: &str) -> Result<()> {
    let (rows, cols) = source.model.grid();
    match rows == cols {
        true => Ok(()),
        false => {
            let reason = format!("{title}'s scripts take square images, and this network {rows}×{cols} patches");
            Err(Error::Config(format!("{reason}; --format timm, hf or onnx can say it")))
        }
    }
}

/// Says so where the scripts normalise pixels by something else.
fn normalised(package: &mut Package<'_>, source: &Source<'_>, kind: Kind, usual: &str) {
    use crate::data::Normalisation;
    let theirs = if kind == Kind::Mae { Normalisation::IMAGENET } else { Normalisation::INCEPTION };
    if source.model.normalise != theirs {
        let own = source.model.normalise;
        package.notes.push(format!(
            "the file cannot say how pixels are normalised: the scripts take {usual}, this network mean {:?} and std {:?}",
            own.mean, own.std
        ));
    }
}
