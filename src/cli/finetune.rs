//! `bootmae finetune`: train a classifier on an encoder.

use std::path::PathBuf;

use clap::Args;

use super::{
    arguments::{ModelArguments, overlay},
    checkpoint::AskedArguments,
    run_arguments::RunArguments,
    training::{self, Trains},
};
use crate::{
    checkpoint::Model,
    data::{LabelOptions, labelled},
    error::{Error, Result},
    model::{ClassifierConfig, ModelConfig, of_encoder},
    nn::{Param, PositionResize, resize_positions},
    run::{
        evaluation::Evaluation,
        pretrain::{Images, Start},
    },
    text::shown,
    train::{
        config::{RunConfig, resolve_finetuning},
        snapshot::NamedTensor,
    },
};

/// Fine-tune a classifier on a pretrained encoder, or train one from scratch.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Labelled images, as `pretrain --data` names them: both sides of a data set, or one of which a tenth is held out.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    /// Labelled images to evaluate on, where `--data` is to be trained on alone.
    #[arg(long, value_name = "SOURCE")]
    validation: Option<String>,
    /// Which labels: a column of parquet files, `coarse` of CIFAR-100.
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// A run folder (its newest checkpoint), a checkpoint folder or archive, or a model file, whose encoder is fine-tuned; or
    /// a checkpoint of BootMAE's or MAE's own program, timm, DeiT or Hugging Face (.pth, .safetensors, or a folder with
    /// config.json). Without it the network of --model starts from scratch.
    #[arg(long, value_name = "PATH")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    asked: AskedArguments,
    /// Settings that come with the program: finetune-base, finetune-large or finetune-small-pictures.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Leave the encoder as it is, and train only what stands on it.
    #[arg(long)]
    freeze: bool,
    /// Without mixup, cutmix, RandAugment and random erasing, which pay in runs of some 30 epochs and more.
    #[arg(long)]
    light: bool,
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    run: RunArguments,
}

/// Trains to the end, or until something stops the run.
pub fn run(arguments: &Arguments) -> Result<()> {
    training::run(arguments)
}

impl Trains for Arguments {
    const NAME: &'static str = "finetune";

    fn run(&self) -> &RunArguments {
        &self.run
    }

    fn settings(&self) -> Result<RunConfig> {
        let (mut tuned, mut positions) = (None, false);
        let base = match (&self.checkpoint, &self.model.model) {
            (Some(_), Some(_)) => {
                return Err(Error::Config("--checkpoint decides the network; leave --model out".into()));
            }
            (Some(path), None) => {
                let Model { config, tensors, .. } = self.asked.open_silently(path)?;
                tuned = config.classifier;
                positions = tensors.iter().any(|tensor| tensor.name == "pos_embed");
                config.model
            }
            (None, Some(size)) => ModelConfig::preset(size)?,
            (None, None) => {
                let reason = "give --checkpoint PATH to fine-tune an encoder, or --model SIZE to start from scratch";
                return Err(Error::Config(reason.into()));
            }
        };
        let (shipped, file) = (self.preset.as_deref(), self.run.config.as_deref());
        let mut base = RunConfig::finetuning(base);
        if let Some(classifier) = &mut base.classifier {
            // A table of its own is none that could be computed again, a resized one is not that of its grid.
            classifier.train_positions |= positions;
            classifier.position_grid =
                table_grid(self.checkpoint.as_deref().and(classifier.position_grid), tuned.as_ref());
        }
        resolve_finetuning(base, shipped, file, self.flags())
    }

    fn resumed(&self, held: &RunConfig) -> Result<RunConfig> {
        let held = held.clone();
        let file = self.run.config.as_deref();
        match &self.preset {
            Some(preset) => resolve_finetuning(held, Some(preset), file, self.flags()),
            None => {
                let settings = held.to_toml()?.parse().map_err(|e| Error::Config(format!("{e}")))?;
                resolve_finetuning(held, None, file, overlay(settings, self.flags()))
            }
        }
    }

    fn images(&self, config: &mut RunConfig) -> Result<(Images, Vec<String>)> {
        let (classifier, finetune) = (config.classifier.as_mut(), config.finetune.as_ref());
        let (Some(classifier), Some(finetune)) = (classifier, finetune) else {
            unreachable!("settings of fine-tuning")
        };
        let options = LabelOptions {
            test: finetune.validation.clone(),
            column: finetune.label_column.clone(),
            seed: config.training.seed,
            run: Some(self.run.out.clone()),
        };
        let found = labelled(&config.data.source, &options)?;
        let classes: Vec<String> = (0..found.classes.len()).map(|class| found.classes.name(class)).collect();
        if classifier.classes.is_empty() {
            classifier.classes = classes;
        } else if classifier.classes != classes {
            return Err(Error::Images(format!(
                "{} has the classes {}; the run began with {}",
                shown(&config.data.source),
                listed(&classes),
                listed(&classifier.classes)
            )));
        }
        classifier.check()?;
        let how = shown(&found.how).into_owned();
        let (source, labels) = (found.train.source, found.train.labels);
        Ok((Images { source, labels, evaluation: Some(Evaluation::Validation(found.test)) }, vec![how]))
    }

    fn start(&self, _: &RunConfig) -> Result<Start> {
        Ok(match &self.checkpoint {
            Some(path) => Start::Weights(Box::new(self.asked.open(path)?)),
            None => Start::Seed,
        })
    }

    fn fitted(&self, start: Start, config: &RunConfig) -> Result<Start> {
        let from = match start {
            Start::Seed => None,
            Start::Weights(from) => Some(from),
            resumed @ Start::Resumed(_) => return Ok(resumed),
        };
        let path = self.checkpoint.clone().unwrap_or_default();
        let tensors = begun(config, from.as_deref()).map_err(|reason| Error::checkpoint(&path, reason))?;
        let (step, config) = (0, config.clone());
        Ok(Start::Weights(Box::new(Model { step, config, tensors, teacher: None })))
    }
}

/// The grid that the table of positions of a checkpoint was computed for; `own` is that of its network, none without a
/// checkpoint.
fn table_grid(own: Option<[usize; 2]>, tuned: Option<&ClassifierConfig>) -> Option<[usize; 2]> {
    let resized = tuned.filter(|tuned| tuned.resize_positions != PositionResize::Recompute);
    own.and_then(|own| resized.and_then(|tuned| tuned.position_grid).or(Some(own)))
}

/// The first classes by name.
fn listed(classes: &[String]) -> String {
    let first: Vec<_> = classes.iter().take(5).map(|class| shown(class)).collect();
    format!("{}{} ({})", first.join(", "), if classes.len() > 5 { ", …" } else { "" }, classes.len())
}

/// The positions `[1 + patches, width]` that a fine-tuned checkpoint trained, if it did, for the grid of `config`.
fn trained_positions(from: &Model, config: &RunConfig) -> Option<Vec<f32>> {
    let (model, (rows, cols)) = (&config.model, from.config.model.grid());
    let held = from.tensors.iter().find(|tensor| tensor.name == "pos_embed")?;
    let how = config.classifier.as_ref()?.resize_positions;
    if held.data.len() != (1 + rows * cols) * model.width {
        return None;
    }
    if (rows, cols) == model.grid() {
        return Some(held.data.clone());
    }
    (how != PositionResize::Recompute)
        .then(|| resize_positions(&held.data, model.width, (rows, cols), model.grid(), how))
}

/// The weights that a run of `config` begins with: the encoder's of a checkpoint, and of one that was fine-tuned for the same
/// classes all; the others are drawn from the seed, positions computed.
fn begun(config: &RunConfig, from: Option<&Model>) -> Result<Vec<NamedTensor>, String> {
    let (Some(classifier), model) = (&config.classifier, &config.model) else { unreachable!("a run that fine-tunes") };
    let held = |name: &str| from?.tensors.iter().find(|tensor| tensor.name == name);
    let tuned = from.and_then(|from| from.config.classifier.as_ref());
    let classes_fit = tuned.is_some_and(|tuned| tuned.classes == classifier.classes && tuned.pool == classifier.pool);
    let tensor = |param: Param| {
        let name = &param.name;
        // The encoder's own norm is only right in front of a head that looks at the class token.
        let wanted = of_encoder(name) || classes_fit || name.starts_with("norm.");
        let data = match held(name).filter(|_| wanted) {
            Some(tensor) if tensor.shape == param.shape => tensor.data.clone(),
            Some(tensor) if of_encoder(name) => {
                return Err(format!("`{name}` has shape {:?}; this network needs {:?}", tensor.shape, param.shape));
            }
            None if of_encoder(name) && from.is_some() => return Err(format!("it holds no `{name}`")),
            _ if name == "pos_embed" => match from.and_then(|from| trained_positions(from, config)) {
                Some(positions) => positions,
                None => classifier.position_table(model),
            },
            _ => param.initial(config.training.seed),
        };
        Ok(NamedTensor { name: param.name.clone(), shape: param.shape.clone(), data })
    };
    config.planned_task().parameters().into_iter().map(tensor).collect()
}

impl Arguments {
    fn flags(&self) -> toml::Table {
        let mut flags = self.run.flags(self.data.as_deref());
        let mut model = self.model.table();
        model.remove("preset");
        flags.insert("model".into(), model.into());
        let mut finetune = toml::Table::new();
        if self.freeze {
            finetune.insert("freeze".into(), true.into());
        }
        if self.light {
            let off =
                "augmentation = { auto_augment = \"\", color_jitter = 0.0, erase = 0.0 }\nmixing.probability = 0.0";
            finetune.extend(off.parse::<toml::Table>().expect("settings that there are"));
        }
        for (key, value) in [("validation", &self.validation), ("label_column", &self.label_column)] {
            if let Some(value) = value {
                finetune.insert(key.into(), value.clone().into());
            }
        }
        flags.insert("finetune".into(), finetune.into());
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(preset: &str) -> Model {
        let config = RunConfig::preset(preset).unwrap();
        let tensor = |param: Param| NamedTensor { data: param.initial(7), name: param.name, shape: param.shape };
        let tensors = crate::model::inventory(&config.model).into_iter().map(tensor).collect();
        Model { step: 3, config, tensors, teacher: None }
    }

    fn of(model: &ModelConfig) -> RunConfig {
        let mut config = RunConfig::finetuning(model.clone());
        config.classifier.as_mut().unwrap().classes = vec!["a".into(), "b".into()];
        config
    }

    #[test]
    fn a_run_begins_with_the_encoder_of_the_checkpoint_and_a_head_of_its_own() {
        let from = model("nano");
        let tensors = begun(&of(&from.config.model), Some(&from)).unwrap();
        let named = |tensors: &[NamedTensor], name: &str| tensors.iter().find(|t| t.name == name).unwrap().data.clone();
        for name in ["cls_token", "blocks.5.mlp.fc2.weight"] {
            assert_eq!(named(&tensors, name), named(&from.tensors, name), "{name}");
        }
        assert!(named(&tensors, "fc_norm.weight").iter().all(|v| *v == 1.0));
        assert!(!tensors.iter().any(|tensor| tensor.name.contains("decoder") || tensor.name.starts_with("norm.")));
        let scratch = begun(&of(&from.config.model), None).unwrap();
        assert_ne!(named(&scratch, "cls_token"), named(&from.tensors, "cls_token"));
    }

    #[test]
    fn positions_of_another_size_are_resized_or_computed_anew() {
        let resized = ClassifierConfig { position_grid: Some([8, 8]), ..ClassifierConfig::default() };
        let anew = ClassifierConfig { resize_positions: PositionResize::Recompute, ..resized.clone() };
        assert_eq!(table_grid(None, None), None, "from scratch");
        assert_eq!(table_grid(Some([12, 12]), None), Some([12, 12]), "after pretraining");
        assert_eq!(table_grid(Some([12, 12]), Some(&resized)), Some([8, 8]), "after fine-tuning at another size");
        assert_eq!(table_grid(Some([12, 12]), Some(&anew)), Some([12, 12]));
        let mut model = ModelConfig::preset("nano").unwrap();
        let own = ClassifierConfig::default();
        assert_eq!(resized.position_table(&model), own.position_table(&model), "the grid is the same");
        (model.image_height, model.image_width) = (48, 48);
        assert_eq!(anew.position_table(&model), own.position_table(&model));
        assert_ne!(resized.position_table(&model), own.position_table(&model));
    }

    #[test]
    fn trained_positions_begin_as_the_table_resized_for_the_grid() {
        let from = model("mae-nano");
        let config = of(&from.config.model);
        let tensors = begun(&config, Some(&from)).unwrap();
        let positions = tensors.iter().find(|tensor| tensor.name == "pos_embed").unwrap();
        assert_eq!(positions.shape, [1, 65, 128]);
        assert!(positions.data[..128].iter().all(|v| *v == 0.0) && positions.data[128..].iter().any(|v| *v != 0.0));
        // Positions that were trained are kept, and resized where the grid is another.
        let mut tuned = Model { config: config.clone(), tensors, ..from.clone() };
        tuned.tensors.iter_mut().find(|tensor| tensor.name == "pos_embed").unwrap().data.fill(0.5);
        let mut other = config.clone();
        other.classifier.as_mut().unwrap().classes.push("c".into());
        for side in [32, 48] {
            other.model = other.model.with_size(side, side, 4);
            let tensors = begun(&other, Some(&tuned)).unwrap();
            let positions = tensors.iter().find(|tensor| tensor.name == "pos_embed").unwrap();
            assert!(positions.data.iter().all(|v| (v - 0.5).abs() < 1e-6), "{side}");
        }
        let mut larger = config.clone();
        larger.model = larger.model.with_size(48, 48, 4);
        let tensors = begun(&larger, Some(&from)).unwrap();
        assert_eq!(tensors.iter().find(|tensor| tensor.name == "pos_embed").unwrap().shape, [1, 145, 128]);
    }

    #[test]
    fn another_patch_size_is_refused() {
        let from = model("nano");
        let config = of(&from.config.model.clone().with_size(32, 32, 8));
        assert!(
            begun(&config, Some(&from)).unwrap_err().contains("`patch_embed.proj.weight` has shape [128, 3, 4, 4]")
        );
    }
}
