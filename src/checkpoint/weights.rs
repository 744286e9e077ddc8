//! Weights without the state of a run: the model file of a checkpoint, and student and teacher together in one file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::files::{VERSION, named_tensors, unread_version};
use crate::{
    device::Device,
    error::{Error, Result},
    formats::tensors::{self, Precision, TensorFile, Written},
    model::{Weights, of_decoder},
    nn::Param,
    train::{
        config::RunConfig,
        snapshot::{MODEL, NamedTensor, Snapshot, TEACHER},
    },
};

/// What the names of the teacher's tensors begin with where both are in one file.
const TEACHER_PREFIX: &str = "teacher/";

/// A checkpoint's weights alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Steps that made them.
    pub step: u64,
    /// The configuration of the run.
    pub config: RunConfig,
    /// The student's weights.
    pub tensors: Vec<NamedTensor>,
    /// The momentum encoder's, where the file has them.
    pub teacher: Option<Vec<NamedTensor>>,
}

impl Model {
    /// The weights of a snapshot.
    pub fn of(snapshot: Snapshot) -> Model {
        let Snapshot { step, config, mut groups, .. } = snapshot;
        let tensors = groups.remove(MODEL).unwrap_or_default();
        Model { step, config, tensors, teacher: groups.remove(TEACHER) }
    }

    /// Writes student and teacher into weights on a device, or says in words which tensor is missing and changes nothing.
    pub fn write(&self, device: &Device, to: &Weights) -> Result<(), String> {
        let student =
            to.layout().params.iter().map(|param| find(&self.tensors, param)).collect::<Result<Vec<_>, _>>()?;
        let teacher = match &self.teacher {
            Some(teacher) => {
                let encoder = to.layout().params.iter().filter(|param| !of_decoder(&param.name));
                encoder.map(|param| find(teacher, param)).collect::<Result<Vec<_>, _>>()?
            }
            None => Vec::new(),
        };
        student.iter().for_each(|tensor| to.write(device, &tensor.name, &tensor.data));
        if to.has_teacher() {
            teacher.iter().for_each(|tensor| to.write_teacher(device, &tensor.name, &tensor.data));
        }
        Ok(())
    }

    /// The weights in a model file; `path` is for messages.
    pub(super) fn of_file(path: &Path, file: TensorFile) -> Result<Model> {
        let fail = |reason: String| Error::checkpoint(path, reason);
        let text = |key: &str| file.metadata.get(key).ok_or_else(|| fail(format!("no `{key}` in the metadata")));
        let version = text("version")?;
        if *version != VERSION.to_string() {
            return Err(fail(unread_version(version)));
        }
        let step = text("step")?.parse().map_err(|e| fail(format!("`step` in the metadata: {e}")))?;
        let config: RunConfig = file.json("config").map_err(fail)?;
        config.check().map_err(|e| fail(format!("`config` in the metadata: {e}")))?;
        let (teacher, student): (Vec<_>, Vec<_>) =
            named_tensors(file).map_err(fail)?.into_iter().partition(|t| t.name.starts_with(TEACHER_PREFIX));
        let unprefixed = teacher.into_iter().map(|t| NamedTensor { name: t.name[TEACHER_PREFIX.len()..].into(), ..t });
        let teacher: Vec<_> = unprefixed.collect();
        Ok(Model { step, config, tensors: student, teacher: (!teacher.is_empty()).then_some(teacher) })
    }
}

/// Writes student and teacher into one model file, half as long as the checkpoint's with [`Precision::F16`]. Of the
/// teacher only the encoder is written; it has no use for decoders.
pub fn weights(model: &Model, precision: Precision, to: impl io::Write) -> io::Result<()> {
    let mut written = named(&model.tensors, "");
    let teacher = model.teacher.iter().flat_map(|teacher| named(teacher, TEACHER_PREFIX));
    written.extend(teacher.filter(|t| !of_decoder(&t.name)));
    tensors::write_as(precision, to, &metadata("model", model.step, &model.config)?, &written)
}

/// The tensor of a parameter.
fn find<'t>(tensors: &'t [NamedTensor], param: &Param) -> Result<&'t NamedTensor, String> {
    let found = tensors.iter().find(|t| t.name == param.name && t.shape == param.shape);
    found.ok_or_else(|| {
        format!("holds no tensor `{}` of shape {:?} that its configuration needs", param.name, param.shape)
    })
}

/// The metadata of a file of a checkpoint.
pub(super) fn metadata(kind: &str, step: u64, config: &RunConfig) -> io::Result<BTreeMap<&'static str, String>> {
    let config = serde_json::to_string(config)?;
    let format = format!("bootmae {kind}");
    Ok([("version", VERSION.to_string()), ("step", step.to_string()), ("config", config), ("format", format)].into())
}

/// Tensors about to be written, with `prefix` before their names.
pub(super) fn named<'t>(tensors: &'t [NamedTensor], prefix: &str) -> Vec<Written<'t>> {
    let written =
        |t: &'t NamedTensor| Written { name: format!("{prefix}{}", t.name), shape: &t.shape, values: &t.data };
    tensors.iter().map(written).collect()
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::train::snapshot::sample;

    #[test]
    fn student_and_teacher_survive_in_one_file() {
        let model = Model::of(sample(7));
        let mut bytes = Vec::new();
        weights(&model, Precision::F32, &mut bytes).unwrap();
        assert_eq!(Model::of_file(Path::new("x"), tensors::parse(&bytes).unwrap()).unwrap(), model);
        let mut half = Vec::new();
        weights(&model, Precision::F16, &mut half).unwrap();
        assert!(half.len() < bytes.len());
        let read = Model::of_file(Path::new("x"), tensors::parse(&half).unwrap()).unwrap();
        assert_eq!((read.step, read.config.clone()), (7, model.config.clone()));
        for (read, held) in read.tensors.iter().zip(&model.tensors) {
            assert_eq!((&read.name, &read.shape), (&held.name, &held.shape));
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= b.abs() / 2048.0;
            assert!(read.data.iter().zip(&held.data).all(near), "{}", held.name);
        }
    }
}
