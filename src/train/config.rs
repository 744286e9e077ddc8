//! What a run is told to do: its settings, their defaults, and how preset, file and flags are laid over each other.

use serde::{Deserialize, Serialize};

use crate::{
    dist::Wire,
    error::{Error, Result},
    lower::{Precision, Recompute},
    model::{
        ClassifierConfig,
        config::{Kind, ModelConfig},
    },
};

pub use differences::differences;
pub use evaluation::EvaluationConfig;
pub use finetune::FinetuneConfig;
pub use layers::{resolve, resolve_finetuning, resolve_over, resolve_settings};

/// The largest batch: beyond all use, and small enough to try every divisor.
const LARGEST_BATCH: usize = 1 << 20;

/// The preset of a run that names none.
pub const DEFAULT_PRESET: &str = "tiny";

impl Default for RunConfig {
    fn default() -> RunConfig {
        RunConfig::preset(DEFAULT_PRESET).expect("a preset that there is")
    }
}

/// Everything that decides a run. Written into the run folder and into every checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The network and its task.
    pub model: ModelConfig,
    /// The optimiser and its schedules.
    #[serde(default)]
    pub training: TrainingConfig,
    /// Where images come from.
    #[serde(default)]
    pub data: DataConfig,
    /// What stands on the encoder, where the run fine-tunes a classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier: Option<ClassifierConfig>,
    /// How it is fine-tuned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finetune: Option<FinetuneConfig>,
    /// How an encoder is evaluated while it is pretrained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationConfig>,
}

/// The optimiser, its schedules and the length of a run. A step is one update of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Seed of everything random: weights, order of images, augmentation and masks. At most 2⁶³ − 1.
    pub seed: u64,
    /// Length of the run in steps; while `epochs` is set it decides instead.
    pub steps: u64,
    /// Length of the run in passes over the collection, until [`TrainingConfig::settle_epochs`] turns it into `steps`.
    pub epochs: Option<f64>,
    /// Images behind one step, over all micro-batches.
    pub batch_size: usize,
    /// Equal parts of a batch that pass through the network one after another, their gradients summed.
    pub micro_batches: usize,
    /// In what order the gradients of these parts are added up.
    pub reduction: Reduction,
    /// How gradients travel between processes.
    pub wire: Wire,
    /// What the backward pass computes again instead of holding it; changes no result.
    pub recompute: Recompute,
    /// In what precision matmuls read weights and activations.
    pub precision: Precision,
    /// Highest learning rate; without it [`TrainingConfig::peak_rate`] takes the published rule.
    pub peak_learning_rate: Option<f64>,
    /// Learning rate at the end of the run; without it [`TrainingConfig::floor_rate`] takes a share of the peak.
    pub min_learning_rate: Option<f64>,
    /// When the warm-up reaches the peak.
    pub schedule: Schedule,
    /// Passes over the collection of linear warm-up, until [`TrainingConfig::settle_epochs`] turns them into `warmup_steps`.
    pub warmup_epochs: Option<f64>,
    /// Steps of linear warm-up; without it 5 % of the run.
    pub warmup_steps: Option<u64>,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Decay of AdamW's first moment.
    pub beta1: f64,
    /// Decay of AdamW's second moment.
    pub beta2: f64,
    /// Added to the square root of AdamW's corrected second moment.
    pub adam_eps: f64,
    /// The largest gradient norm of an update: one above is not made, the run goes back to its last good state and leaves
    /// the images of that step out. No limit if unset.
    pub gradient_norm_limit: Option<f64>,
    /// Weight of the feature loss after its ramp; 0 turns the feature branch and the teacher off.
    pub feature_weight: f64,
    /// How the teacher follows the student.
    pub ema: Ema,
    /// A run folder, checkpoint or model file whose weights the run starts from, in place of the seed's.
    pub init_from: Option<String>,
    /// Steps between two checkpoints.
    pub save_every_steps: u64,
    /// Checkpoints kept; older ones are removed once a newer one is on the disk.
    pub keep_checkpoints: usize,
    /// Steps between two pictures of a reconstruction; 0 draws none.
    pub sample_every_steps: u64,
}

/// A linear warm-up and half a cosine, as BootMAE or as MAE counts its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The peak is reached on the last step of the warm-up.
    #[default]
    Bootmae,
    /// The peak is reached on the first step after the warm-up.
    Mae,
}

/// The order in which gradients of passes are added up. Between processes it is always a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// One after another: the least memory.
    #[default]
    Sequence,
    /// As a binary tree, so that 1, 2, 4 or 8 processes end with equal bits. Holds log₂ of the passes as many sums.
    Tree,
}

/// How a batch passes through the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passes {
    /// Images of an update.
    pub batch: usize,
    /// Passes that they are divided into.
    pub micro_batches: usize,
    /// In what order their gradients are added up.
    pub reduction: Reduction,
    /// What the backward passes compute again.
    pub recompute: Recompute,
    /// In what precision matmuls read their operands.
    pub precision: Precision,
}

/// The decay of the teacher's moving average over the run. In a file: `ema = "scaled"` or
/// `ema = { fixed = { decay = 0.999 } }`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ema {
    /// The published averaging times as shares of this run: 0.4 %, 4 % at an eighth, 40 % from the middle on.
    Scaled,
    /// As `Scaled`, but staying at 4 % (what the published ViT-L run does).
    ScaledConstant,
    /// The published constants: 0.999 rising to 0.9999, then to 0.99999, at absolute epochs.
    Published {
        /// Steps of an epoch; the decay changes once an epoch.
        steps_per_epoch: u64,
        /// Epoch at which the decay reaches 0.9999.
        #[serde(default = "published_first_mark")]
        first_mark_epochs: u64,
        /// Epoch at which the decay reaches 0.99999.
        #[serde(default = "published_second_mark")]
        second_mark_epochs: u64,
        /// Whether the decay rises after the first mark: true for the published ViT-B run, false for ViT-L.
        #[serde(default = "published_dynamic")]
        dynamic: bool,
    },
    /// Averages over 8 % of the run's steps, with a decay of at least 0.99: fine-tuning's.
    Share,
    /// One decay throughout.
    Fixed {
        /// Share of the teacher that a step keeps.
        decay: f64,
    },
}

fn published_first_mark() -> u64 {
    100
}

fn published_second_mark() -> u64 {
    400
}

fn published_dynamic() -> bool {
    true
}

/// Where images come from and how they are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The collection: a path, or a name that the image sources know. Empty until chosen.
    pub source: String,
    /// Largest share of unreadable images that a run puts up with, 0 to 1.
    pub max_bad_fraction: f64,
    /// Threads that decode and augment images; 0 lets the loader choose.
    pub loader_threads: usize,
}

impl Default for TrainingConfig {
    fn default() -> TrainingConfig {
        TrainingConfig {
            seed: 0,
            steps: 10_000,
            epochs: None,
            batch_size: 64,
            micro_batches: 1,
            reduction: Reduction::Sequence,
            wire: Wire::F32,
            recompute: Recompute::None,
            precision: Precision::F32,
            peak_learning_rate: None,
            min_learning_rate: None,
            schedule: Schedule::Bootmae,
            warmup_epochs: None,
            warmup_steps: None,
            weight_decay: 0.05,
            beta1: 0.9,
            beta2: 0.95,
            adam_eps: 1e-8,
            gradient_norm_limit: None,
            feature_weight: 1.0,
            ema: Ema::Scaled,
            init_from: None,
            save_every_steps: 500,
            keep_checkpoints: 3,
            sample_every_steps: 500,
        }
    }
}

impl Default for DataConfig {
    fn default() -> DataConfig {
        DataConfig { source: String::new(), max_bad_fraction: 0.01, loader_threads: 0 }
    }
}

impl RunConfig {
    /// The defaults of a preset: `nano` and `tiny` peak at a learning rate of 1e-3, which suits short runs of small
    /// networks; `large` keeps the teacher's averaging time at 4 % of the run; MAE's learning rate ends at 0. Refuses an
    /// unknown name.
    pub fn preset(name: &str) -> Result<RunConfig> {
        let model = ModelConfig::preset(name)?;
        let mut training = TrainingConfig::default();
        match name {
            "nano" | "tiny" | "mae-nano" | "mae-tiny" => training.peak_learning_rate = Some(1e-3),
            "large" => training.ema = Ema::ScaledConstant,
            _ => {}
        }
        if model.kind == Kind::Mae {
            training.be_mae();
        }
        Ok(RunConfig {
            model,
            training,
            data: DataConfig::default(),
            classifier: None,
            finetune: None,
            evaluation: None,
        })
    }

    /// Refuses settings that are out of range or contradict each other, naming the first one.
    pub fn check(&self) -> Result<()> {
        self.model.check()?;
        self.training.check()?;
        let share = self.data.max_bad_fraction;
        require((0.0..=1.0).contains(&share), || format!("max_bad_fraction must be 0 to 1, not {share}"))?;
        if let Some(evaluation) = &self.evaluation {
            evaluation.check()?;
        }
        require(self.classifier.is_some() == self.finetune.is_some(), || {
            "[classifier] and [finetune] go together; `bootmae finetune` sets both".into()
        })?;
        if let (Some(classifier), Some(finetune)) = (&self.classifier, &self.finetune) {
            finetune.check(self.model.channels)?;
            // Classes are found in the data, later.
            if !classifier.classes.is_empty() {
                classifier.check()?;
            }
        }
        require(self.model.feature_branch == (self.training.feature_weight > 0.0), || {
            "feature_branch and a positive feature_weight go together: set both or neither".into()
        })
    }

    /// The settings as TOML that [`resolve`] reads back to the same value.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).map_err(|e| Error::Config(format!("settings cannot be written as TOML: {e}")))
    }
}

impl TrainingConfig {
    /// Takes MAE's schedule, which ends at 0. There is no feature loss.
    fn be_mae(&mut self) {
        (self.schedule, self.min_learning_rate, self.feature_weight) = (Schedule::Mae, Some(0.0), 0.0);
    }

    /// The highest learning rate: the setting, or 1.5e-4 × batch_size / 256 (the published rule).
    pub fn peak_rate(&self) -> f64 {
        self.peak_learning_rate.unwrap_or(1.5e-4 * self.batch_size as f64 / 256.0)
    }

    /// The learning rate at the end: the setting, or 1/24 of the peak (2.4e-3 to 1e-4 in the published ViT-B run).
    pub fn floor_rate(&self) -> f64 {
        self.min_learning_rate.unwrap_or(self.peak_rate() / 24.0)
    }

    /// Steps of warm-up: the setting, or 5 % of the run, rounded.
    pub fn warmup(&self) -> u64 {
        self.warmup_steps.unwrap_or((self.steps as f64 * 0.05).round() as u64)
    }

    /// How a batch passes through the network.
    pub fn passes(&self) -> Passes {
        Passes {
            batch: self.batch_size,
            micro_batches: self.micro_batches,
            reduction: self.reduction,
            recompute: self.recompute,
            precision: self.precision,
        }
    }

    /// Images of one micro-batch.
    pub fn micro_batch_size(&self) -> usize {
        self.batch_size / self.micro_batches
    }

    /// Turns `epochs` into `steps` for a collection of `images`, rounding up to whole steps, and `warmup_epochs` into
    /// `warmup_steps`; does nothing without them. Refuses an empty collection, and settings that do not fit the resulting length.
    pub fn settle_epochs(&mut self, images: usize) -> Result<()> {
        let steps = |epochs: f64| epochs * images as f64 / self.batch_size as f64;
        let (length, warmup) = (self.epochs.map(steps), self.warmup_epochs.map(steps));
        require(images > 0 || length.or(warmup).is_none(), || "epochs of an empty collection have no steps".into())?;
        if let Some(length) = length {
            self.steps = length.ceil().max(1.0) as u64;
        }
        if let Some(warmup) = warmup {
            self.warmup_steps = Some(warmup.round() as u64);
        }
        (self.epochs, self.warmup_epochs) = (None, None);
        self.check()
    }

    /// Refuses values out of range, naming the setting.
    pub fn check(&self) -> Result<()> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let (peak, floor) = (self.peak_rate(), self.floor_rate());
        require(self.seed <= i64::MAX as u64, || format!("seed must be at most {}, not {}", i64::MAX, self.seed))?;
        require((1..=i64::MAX as u64).contains(&self.steps), || {
            format!("steps must be at least 1, not {}", self.steps)
        })?;
        if let Some(epochs) = self.warmup_epochs {
            require(epochs.is_finite() && epochs >= 0.0, || format!("warmup_epochs must be 0 or more, not {epochs}"))?;
        }
        if let Some(epochs) = self.epochs {
            require(positive(epochs), || format!("epochs must be positive, not {epochs}"))?;
        } else {
            let (warmup, steps) = (self.warmup(), self.steps);
            require(warmup <= steps, || format!("warmup_steps {warmup} exceed the {steps} steps of the run"))?;
        }
        self.check_batch()?;
        require(positive(peak), || format!("peak_learning_rate must be positive, not {peak}"))?;
        require((0.0..=peak).contains(&floor), || {
            format!("min_learning_rate must be 0 to the peak of {peak}, not {floor}")
        })?;
        for (name, value) in [("weight_decay", self.weight_decay), ("feature_weight", self.feature_weight)] {
            require(value.is_finite() && value >= 0.0, || format!("{name} must be 0 or more, not {value}"))?;
        }
        for (name, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            require((0.0..1.0).contains(&value), || format!("{name} must be 0 or more and less than 1, not {value}"))?;
        }
        require(positive(self.adam_eps), || format!("adam_eps must be positive, not {}", self.adam_eps))?;
        let limit = self.gradient_norm_limit;
        require(limit.is_none_or(positive), || format!("gradient_norm_limit must be positive, not {limit:?}"))?;
        require(self.save_every_steps > 0, || "save_every_steps must be at least 1".into())?;
        require(self.keep_checkpoints > 0, || "keep_checkpoints must be at least 1".into())?;
        self.ema.check()
    }

    /// Refuses a batch that does not fall into equal micro-batches, naming the nearest number that divides it.
    fn check_batch(&self) -> Result<()> {
        let (batch, parts) = (self.batch_size, self.micro_batches);
        require((1..=LARGEST_BATCH).contains(&batch), || {
            format!("batch_size must be 1 to {LARGEST_BATCH}, not {batch}")
        })?;
        require(parts > 0 && batch % parts == 0, || {
            let near = (1..=batch).filter(|q| batch % q == 0).min_by_key(|q| q.abs_diff(parts)).unwrap_or(1);
            format!("micro_batches {parts} do not divide batch_size {batch}; {near} would")
        })
    }
}

impl Ema {
    /// Refuses a decay outside 0 to 1 and epoch marks out of order.
    fn check(&self) -> Result<()> {
        match *self {
            Ema::Scaled | Ema::ScaledConstant | Ema::Share => Ok(()),
            Ema::Fixed { decay } => {
                require((0.0..=1.0).contains(&decay), || format!("ema decay must be 0 to 1, not {decay}"))
            }
            Ema::Published { steps_per_epoch, first_mark_epochs: first, second_mark_epochs: second, .. } => {
                require(steps_per_epoch > 0, || "ema steps_per_epoch must be at least 1".into())?;
                require(0 < first && first < second, || format!("ema marks {first} and {second} must rise from 1"))
            }
        }
    }
}

fn require(holds: bool, reason: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config(reason())) }
}

mod differences;
mod evaluation;
mod finetune;
mod layers;
pub mod words;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
