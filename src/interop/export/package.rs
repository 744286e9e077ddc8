//! What is written for another program: tensors with its names, and what it wants to know beside them.

use std::{collections::BTreeMap, fs, io, path::Path};

use super::{
    Source, Task,
    tensors::{Foreign, fits_half},
};
use crate::{
    durable::{new_folder, partial_of, rename, sync_folder, sync_parent, write_synced},
    error::{Error, Result},
    formats::{
        tensors::{self, Precision},
        weights::write_torch_sets,
    },
    interop::Description,
    model::config::Kind,
};

/// Weights and texts for another program.
#[derive(Clone, Debug)]
pub struct Package<'m> {
    /// The tensors.
    pub tensors: Vec<Foreign<'m>>,
    /// The same of the momentum encoder, where the format keeps it beside.
    pub average: Option<Vec<Foreign<'m>>>,
    /// The texts beside the weights, by the names of their files.
    pub texts: Vec<(&'static str, String)>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// The line of Python that opens it, with `{}` for the path.
    pub load: &'static str,
    /// The metadata of a safetensors file.
    pub metadata: BTreeMap<&'static str, String>,
}

/// The file of weights in a folder.
const WEIGHTS: &str = "model.safetensors";

impl<'m> Package<'m> {
    /// A package of these tensors.
    pub(super) fn new(source: &Source<'m>, task: Task, tensors: Vec<Foreign<'m>>, load: &'static str) -> Package<'m> {
        let description = serde_json::to_string(&description(source, task)).expect("numbers and texts are JSON");
        let metadata = [("format", "pt".to_owned()), (Description::KEY, description)].into();
        Package { tensors, average: None, texts: Vec::new(), notes: Vec::new(), load, metadata }
    }

    /// Refuses values that a precision cannot hold.
    pub fn check(&self, precision: Precision) -> Result<()> {
        let all = self.tensors.iter().chain(self.average.iter().flatten());
        let mut of_half = all.filter(|_| precision == Precision::F16);
        of_half.try_for_each(|tensor| fits_half(&tensor.name, &tensor.values))
    }

    /// Writes what `torch.load` reads: the tensors as `model`, the momentum encoder's as `model_ema`.
    pub fn write_torch(&self, precision: Precision, to: impl io::Write) -> io::Result<()> {
        let model: Vec<_> = self.tensors.iter().map(Foreign::written).collect();
        let average: Vec<_> = self.average.iter().flatten().map(Foreign::written).collect();
        let mut sets = vec![("model", &model[..])];
        if !average.is_empty() {
            sets.push(("model_ema", &average[..]));
        }
        write_torch_sets(to, precision, &sets)
    }

    /// Writes a folder, which is there when every file of it is. One that holds anything is refused.
    pub fn write_folder(&self, precision: Precision, path: &Path) -> Result<()> {
        self.check(precision)?;
        let fail = |e| Error::io(path)(e);
        if let Ok(mut held) = fs::read_dir(path) {
            if held.next().is_some() {
                return Err(Error::Config(format!("--out {}: the folder holds files; give a new one", path.display())));
            }
            fs::remove_dir(path).map_err(fail)?;
        } else if path.symlink_metadata().is_ok() {
            return Err(Error::Config(format!("--out {}: not a folder; give a new one", path.display())));
        }
        let partial = partial_of(path);
        let mut own: Vec<&str> = self.texts.iter().map(|(name, _)| *name).collect();
        own.push(WEIGHTS);
        new_folder(&partial, &own).map_err(Error::io(&partial))?;
        let written: Vec<_> = self.tensors.iter().map(Foreign::written).collect();
        write_synced(&partial.join(WEIGHTS), |to| tensors::write_as(precision, to, &self.metadata, &written))
            .and_then(|()| {
                self.texts
                    .iter()
                    .try_for_each(|(name, text)| write_synced(&partial.join(name), |to| to.write_all(text.as_bytes())))
            })
            .and_then(|()| sync_folder(&partial))
            .and_then(|()| rename(&partial, path))
            .and_then(|()| sync_parent(path))
            .map_err(|e| {
                let _ = crate::durable::remove_folder(&partial, &own);
                fail(e)
            })
    }
}

/// What the tensors do not tell.
fn description(source: &Source<'_>, task: Task) -> Description {
    let model = source.model;
    let (rows, cols) = model.grid();
    let pretraining = task == Task::Pretraining;
    Description {
        kind: model.kind,
        heads: model.heads,
        decoder_heads: model.decoder_heads.filter(|_| pretraining && model.kind == Kind::Mae),
        layer_norm_eps: model.layer_norm_eps,
        normalise: model.normalise,
        crop_share: model.crop_share,
        grid: (rows != cols).then_some([rows, cols]),
        pixel_target: pretraining.then_some(model.pixel_target),
        classes: match (task, source.classifier) {
            (Task::Classes, Some(classifier)) => classifier.classes.clone(),
            _ => Vec::new(),
        },
    }
}
