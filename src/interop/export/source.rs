//! The weights that are exported: those of one network of a checkpoint.

use std::borrow::Cow;

use crate::{
    checkpoint::Model,
    error::{Error, Result},
    model::{ClassifierConfig, ModelConfig, Whose},
    train::snapshot::NamedTensor,
};

/// Student or teacher of a checkpoint, each tensor looked at before it is used.
#[derive(Clone, Copy, Debug)]
pub struct Source<'m> {
    /// The checkpoint.
    pub checkpoint: &'m Model,
    /// The network.
    pub model: &'m ModelConfig,
    /// What fine-tuning put on it.
    pub classifier: Option<&'m ClassifierConfig>,
    /// Which of the two.
    pub whose: Whose,
    tensors: &'m [NamedTensor],
}

impl<'m> Source<'m> {
    /// The weights of the student, or of the teacher, which is the moving average where a network was fine-tuned.
    ///
    /// # Errors
    /// When the checkpoint has no teacher.
    pub fn new(checkpoint: &'m Model, whose: Whose) -> Result<Source<'m>> {
        let tensors = match (whose, &checkpoint.teacher) {
            (Whose::Student, _) => &checkpoint.tensors,
            (Whose::Teacher, Some(teacher)) => teacher,
            (Whose::Teacher, None) => {
                let reason = "it has no teacher's weights and no moving average; take the student's";
                return Err(Error::checkpoint("the checkpoint", reason));
            }
        };
        let config = &checkpoint.config;
        Ok(Source { checkpoint, model: &config.model, classifier: config.classifier.as_ref(), whose, tensors })
    }

    /// The values of a tensor.
    ///
    /// # Errors
    /// When there is none of that name and shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<&'m [f32]> {
        let found = self.tensors.iter().find(|tensor| tensor.name == name && tensor.shape == shape);
        found.map(|tensor| &tensor.data[..]).ok_or_else(|| {
            Error::checkpoint("the checkpoint", format!("it holds no `{name}` of shape {shape:?}, which is needed"))
        })
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.iter().any(|tensor| tensor.name == name)
    }

    /// The encoder's table of positions `[1 + patches, width]`, class token first: the trained one, or the sine-cosine table
    /// that the network was trained with.
    pub fn positions(&self) -> Result<Cow<'m, [f32]>> {
        let model = self.model;
        if self.has("pos_embed") {
            return Ok(Cow::Borrowed(self.get("pos_embed", &[1, 1 + model.patches(), model.width])?));
        }
        let fresh = ClassifierConfig::default();
        Ok(Cow::Owned(self.classifier.unwrap_or(&fresh).position_table(model)))
    }

    /// Whether the table of positions was made for another grid.
    pub fn positions_were_resized(&self) -> bool {
        let (rows, cols) = self.model.grid();
        self.classifier.and_then(|classifier| classifier.position_grid).is_some_and(|grid| grid != [rows, cols])
    }

    /// The bias `[3 inner]` of a fused projection to queries, keys and values: keys have none, so zeros stand there.
    pub fn attention_bias(&self, attention: &str, inner: usize) -> Result<Vec<f32>> {
        let [q, v] = ["q_bias", "v_bias"].map(|name| self.get(&format!("{attention}.{name}"), &[inner]));
        Ok([q?, &vec![0.0; inner], v?].concat())
    }

    /// The name of the weights, as `embed` has it: of a fine-tuned network the student is the trained one and the teacher its
    /// moving average.
    pub fn weights(&self) -> &'static str {
        match (self.whose, self.classifier) {
            (Whose::Student, None) => "student",
            (Whose::Teacher, None) => "teacher",
            (Whose::Student, Some(_)) => "trained",
            (Whose::Teacher, Some(_)) => "average",
        }
    }
}
