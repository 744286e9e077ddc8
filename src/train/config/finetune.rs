//! Settings of fine-tuning, and what a run of it takes from the network that it starts from.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Ema, RunConfig, Schedule, TrainingConfig, require};
use crate::{
    data::augment::{Augmentation, Mixing},
    error::{Error, Result},
    model::{
        ClassifierConfig,
        config::{Kind, ModelConfig},
    },
    tasks::{Classify, Pretrain, Task},
};

/// How a classifier is fine-tuned, beside the optimiser's settings in [`TrainingConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// What a layer's learning rate is of that of the layer above it, above 0 to 1.
    pub layer_decay: f64,
    /// Whether the encoder stays as it is, and only what stands on it is trained.
    pub freeze: bool,
    /// The share of a target that is spread over all classes, 0 to less than 1.
    pub label_smoothing: f64,
    /// How views of images are made.
    pub augmentation: Augmentation,
    /// How the images of an update are mixed with each other.
    pub mixing: Mixing,
    /// Whether a moving average of the weights is kept and evaluated too.
    pub average: bool,
    /// Labelled images to evaluate on; without it the other side of the source, or a tenth of it held out.
    pub validation: Option<String>,
    /// Which labels: a column of parquet files, `coarse` of CIFAR-100.
    pub label_column: Option<String>,
    /// Passes over the training images between two evaluations.
    pub evaluate_every_epochs: f64,
    /// The same in steps, which is found from the epochs where the images are known.
    pub evaluate_every_steps: Option<u64>,
}

impl Default for FinetuneConfig {
    fn default() -> FinetuneConfig {
        FinetuneConfig {
            layer_decay: 0.75,
            freeze: false,
            label_smoothing: 0.1,
            augmentation: Augmentation::finetuning(),
            mixing: Mixing::default(),
            average: true,
            validation: None,
            label_column: None,
            evaluate_every_epochs: 1.0,
            evaluate_every_steps: None,
        }
    }
}

impl FinetuneConfig {
    pub(super) fn check(&self, channels: usize) -> Result<()> {
        self.augmentation.check(channels).and_then(|()| self.mixing.check()).map_err(Error::Config)?;
        let (decay, smoothing) = (self.layer_decay, self.label_smoothing);
        require(decay > 0.0 && decay <= 1.0, || format!("layer_decay must be above 0 and at most 1, not {decay}"))?;
        require((0.0..1.0).contains(&smoothing), || {
            format!("label_smoothing must be 0 to less than 1, not {smoothing}")
        })?;
        let every = self.evaluate_every_epochs;
        require(every.is_finite() && every > 0.0, || format!("evaluate_every_epochs must be positive, not {every}"))
    }

    /// Steps between two evaluations of a run over `images` images.
    pub fn settle(&mut self, images: usize, batch_size: usize) {
        let steps = (self.evaluate_every_epochs * images as f64 / batch_size as f64).round().max(1.0) as u64;
        self.evaluate_every_steps.get_or_insert(steps);
    }
}

impl RunConfig {
    /// The defaults of fine-tuning an encoder: the recipe for small pictures. `pretrained` is the grid that its positions were
    /// made for; none starts from scratch. MAE trains positions and keeps no average, as published.
    pub fn finetuning(mut model: ModelConfig) -> RunConfig {
        let mae = model.kind == Kind::Mae;
        let (rows, cols) = model.grid();
        (model.feature_branch, model.cross_attention) = (false, false);
        let classifier = ClassifierConfig {
            train_positions: mae,
            position_grid: Some([rows, cols]),
            drop_path: if model.depth > 6 { 0.1 } else { 0.0 },
            ..ClassifierConfig::default()
        };
        let training = TrainingConfig {
            epochs: Some(100.0),
            batch_size: 128,
            schedule: if mae { Schedule::Mae } else { Schedule::Bootmae },
            beta2: 0.999,
            feature_weight: 0.0,
            ema: Ema::Share,
            sample_every_steps: 0,
            ..TrainingConfig::default()
        };
        let finetune = FinetuneConfig { average: !mae, ..FinetuneConfig::default() };
        RunConfig { model, training, classifier: Some(classifier), finetune: Some(finetune), ..RunConfig::default() }
    }

    /// Whether a moving average follows the weights, as a teacher or to be evaluated.
    pub fn keeps_average(&self) -> bool {
        self.model.feature_branch || self.finetune.as_ref().is_some_and(|finetune| finetune.average)
    }

    /// The training step of this run; `labels` are the classes of a classifier's images.
    pub fn task(&self, labels: Arc<[u32]>) -> Arc<dyn Task> {
        let training = &self.training;
        match (&self.classifier, &self.finetune) {
            (Some(classifier), Some(finetune)) => Arc::new(Classify {
                model: self.model.clone(),
                classifier: classifier.clone(),
                layer_decay: finetune.layer_decay,
                frozen: finetune.freeze,
                smoothing: finetune.label_smoothing,
                mixing: finetune.mixing,
                average: finetune.average,
                seed: training.seed,
                labels,
            }),
            _ => Arc::new(Pretrain {
                model: self.model.clone(),
                seed: training.seed,
                feature_weight: training.feature_weight,
                steps: training.steps,
            }),
        }
    }

    /// The training step, to plan and to measure it.
    pub fn planned_task(&self) -> Arc<dyn Task> {
        self.task(Arc::new([]))
    }
}
