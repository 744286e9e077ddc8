//! A device against a fixture of fine-tuning: one step, or a run of several.

use std::sync::Arc;

use serde::Deserialize;

use super::{
    compare::{Bars, CLASSIFY_F32_BARS, F16_BARS, Groups, Report, bad, difference, first, norm, relative},
    fixture::refuse_large,
    names::fixture_name,
};
use crate::{
    device::Device,
    error::Result,
    formats::tensors::TensorFile,
    infer::predictor::{Network, Over, Predictor},
    kernels::Tuning,
    lower::Precision,
    model::{
        ClassifierConfig, ModelConfig, Pool,
        config::{Kind, inner},
    },
    nn::PositionOrder,
    ops::Settings,
    tasks::{Classify, Inputs, Task},
    train::{
        GRADIENTS, Trainer, TrainerOptions, WEIGHTS,
        snapshot::{NamedTensor, TEACHER},
    },
};

/// The configuration of a fixture, whose fields have the names of the reference implementation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    image: usize,
    patch: usize,
    dim: usize,
    depth: usize,
    heads: usize,
    mlp: usize,
    classes: usize,
    pool: Pool,
    positions: PositionOrder,
    train_positions: bool,
    drop_path: f64,
    ln_eps: f32,
}

/// A fixture whose weights are on the device.
struct Fixture<'f> {
    file: &'f TensorFile,
    task: Classify,
    trainer: Trainer,
    batch: usize,
    bars: &'static Bars,
    groups: Groups,
}

/// Runs a fixture of a kind on `device`. `Err` holds what is wrong with the fixture, or the device's error.
pub(super) async fn verify(
    device: Device,
    tuning: Tuning,
    precision: Precision,
    file: &TensorFile,
    kind: &str,
) -> Result<Report> {
    let fixture = Fixture::open(device, tuning, precision, file).await?;
    if kind == "finetune_step" { fixture.step(kind).await } else { fixture.run(kind).await }
}

fn task(file: &TensorFile) -> Result<Classify> {
    let text = file.metadata.get("config").ok_or_else(|| bad("no `config` in the metadata".into()))?;
    let c: Config = serde_json::from_str(text).map_err(|e| bad(format!("`config` in the metadata: {e}")))?;
    refuse_large(&[c.image, c.patch, c.dim, c.depth, c.heads, c.mlp, c.classes]).map_err(bad)?;
    let model = ModelConfig {
        width: c.dim,
        depth: c.depth,
        heads: c.heads,
        mlp_ratio: c.mlp,
        feature_tap: c.depth.saturating_sub(1),
        layer_norm_eps: c.ln_eps,
        positions: c.positions,
        ..ModelConfig::preset("nano")?.with_size(c.image, c.image, c.patch)
    };
    let classifier = ClassifierConfig {
        classes: (0..c.classes).map(|class| class.to_string()).collect(),
        pool: c.pool,
        train_positions: c.train_positions,
        drop_path: c.drop_path,
        ..ClassifierConfig::default()
    };
    model.check().and_then(|()| classifier.check()).map_err(|e| bad(e.to_string()))?;
    let layer_decay = file.json("layer_decay").map_err(bad)?;
    Ok(Classify { layer_decay, ..Classify::of(&model, &classifier) })
}

/// What fixtures call a parameter.
fn name_of(name: &str) -> String {
    match name {
        "pos_embed" => "pos".into(),
        "norm.weight" => "norm.g".into(),
        "norm.bias" => "norm.b".into(),
        "fc_norm.weight" => "fc_norm.g".into(),
        other => fixture_name(Kind::Mae, other),
    }
}

impl<'f> Fixture<'f> {
    async fn open(device: Device, tuning: Tuning, precision: Precision, file: &'f TensorFile) -> Result<Fixture<'f>> {
        let task = task(file)?;
        let model = &task.model;
        let (shape, images) = file.f32("in/images").map_err(bad)?;
        let lead = shape.len().saturating_sub(4);
        let wanted = [model.channels, model.image_height, model.image_width];
        if !(4..=5).contains(&shape.len()) || shape[lead + 1..] != wanted || images.is_empty() {
            return Err(bad(format!("in/images has shape {shape:?}; its configuration wants [.., {wanted:?}]")));
        }
        let batch = shape[lead];
        for param in task.parameters() {
            check_length(file, "param", &param.name, param.len())?;
        }
        let widest = (batch * (model.patches() + 1)) as u64 * (4 * inner(model.width, 1)) as u64 * 4;
        if widest > device.max_binding_bytes() {
            return Err(bad(format!("an activation would take up to {widest} bytes, which the adapter cannot bind")));
        }
        let options = TrainerOptions { inspect: true, precision, ..TrainerOptions::new(batch, 1, tuning) };
        let trainer = Trainer::new(device, Arc::new(task.clone()), options).await?;
        trainer.initialise(0);
        let bars = match precision {
            Precision::F32 => &CLASSIFY_F32_BARS,
            Precision::F16 => &F16_BARS,
        };
        let fixture = Fixture { file, task, trainer, batch, bars, groups: Groups::default() };
        for param in &fixture.trainer.layout().params {
            // The average of a run starts as a copy.
            let average = if file.tensor("ema/cls").is_ok() { "ema" } else { "param" };
            for (arena, prefix) in [(WEIGHTS, "param"), (TEACHER, average)] {
                fixture.trainer.write(arena, &param.name, check_length(file, prefix, &param.name, param.len())?);
            }
        }
        Ok(fixture)
    }

    fn values(&self, prefix: &str, tensor: &NamedTensor) -> Result<&'f [f32]> {
        check_length(self.file, prefix, &tensor.name, tensor.data.len())
    }

    fn settings(&self, t: u64, lr: f64) -> Result<Settings> {
        let number = |key: &str| -> Result<f64> { self.file.json(key).map_err(bad) };
        let betas: [f64; 2] = self.file.json("betas").map_err(bad)?;
        let [wd, eps, ema] = [number("wd")?, number("adam_eps")?, number("ema_decay")?];
        Ok(Settings::new(t, lr, wd, (betas[0], betas[1]), eps, ema))
    }

    /// What the host writes for step `t`.
    fn inputs(&self, t: usize) -> Result<Inputs<'f>> {
        fn part<T>(values: &[T], t: usize, len: usize) -> Result<&[T]> {
            values.get(t * len..(t + 1) * len).ok_or_else(|| bad(format!("an input ends before step {t}")))
        }
        let (model, batch) = (&self.task.model, self.batch);
        let pixels = model.channels * model.image_height * model.image_width;
        let images = self.file.f32("in/images").map_err(bad)?.1;
        let targets = self.file.f32("in/targets").map_err(bad)?.1;
        let kept = part(self.file.i64("in/keep").map_err(bad)?.1, t, 2 * model.depth * batch)?;
        let rates = self.task.classifier.drop_rates(model.depth);
        let factor = |(at, kept): (usize, &i64)| (*kept as f64 / (1.0 - rates[at / (2 * batch)])) as f32;
        let keep: Vec<f32> = kept.iter().enumerate().map(factor).collect();
        Ok(self.task.targeted(
            part(images, t, batch * pixels)?,
            part(targets, t, batch * self.task.classifier.classes.len())?,
            &keep,
        ))
    }

    async fn step(mut self, kind: &str) -> Result<Report> {
        let (bars, lr) = (self.bars, self.file.json("lr").map_err(bad)?);
        let evaluated = {
            let (trainer, task) = (&self.trainer, &self.task);
            let tuning = trainer.tuning().clone();
            let network = Network { model: &task.model, classifier: &task.classifier };
            let over = Over { layout: trainer.layout(), arenas: trainer.arenas(), arena: WEIGHTS };
            let predictor = Predictor::over(trainer.device(), network, over, self.batch, tuning).await?;
            predictor.run(trainer.device(), self.file.f32("in/images").map_err(bad)?.1).await?
        };
        self.trainer.step(&[self.inputs(0)?], self.settings(1, lr)?);
        let result = self.trainer.take().await?;
        let want = first(self.file.f64("out/loss").map_err(bad)?.1)?;
        self.groups.note("losses", bars.loss, "loss", (result.loss - want).abs() / want.abs());
        let mut outputs = vec![("logits", self.trainer.pass().read(self.trainer.device(), "logits").await?)];
        if self.task.classifier.pool == Pool::Mean {
            outputs.push(("pooled", self.trainer.pass().read(self.trainer.device(), "pooled").await?));
        }
        outputs.push(("logits_eval", evaluated));
        for (output, got) in outputs {
            let want = self.file.f32(&format!("out/{output}")).map_err(bad)?.1;
            self.groups.note("out", bars.output, output, relative(&got, want));
        }
        let scale = result.loss_scale.unwrap_or(1.0) as f32;
        for mut tensor in self.trainer.read(GRADIENTS).await? {
            tensor.data.iter_mut().for_each(|g| *g /= scale);
            let want = self.values("grad", &tensor)?;
            self.groups.note("grad", bars.gradient, &tensor.name, relative(&tensor.data, want));
        }
        let rates: Vec<(String, f64)> =
            self.task.parameters().into_iter().map(|param| (param.name, f64::from(param.rate))).collect();
        for tensor in self.trainer.read(WEIGHTS).await? {
            let (want, gradient) = (self.values("after_adamw", &tensor)?, self.values("grad", &tensor)?);
            let rate = rates.iter().find(|(name, _)| *name == tensor.name).map_or(1.0, |(_, rate)| *rate);
            let least = bars.adamw_share * norm(gradient) / (gradient.len() as f64).sqrt();
            for ((got, want), gradient) in tensor.data.iter().zip(want).zip(gradient) {
                let error = f64::from(got - want).abs() / (lr * rate);
                if gradient.is_nan() || f64::from(gradient.abs()) > least {
                    self.groups.note("after_adamw", bars.adamw, &tensor.name, error);
                } else if let Some(bar) = bars.adamw_elsewhere {
                    self.groups.note("after_adamw, small gradients", bar, &tensor.name, error);
                }
            }
        }
        for tensor in self.trainer.read(TEACHER).await? {
            let want = self.values("after_ema", &tensor)?;
            self.groups.note("after_ema", bars.ema, &tensor.name, relative(&tensor.data, want));
        }
        Ok(self.groups.report(&self.trainer.device().adapter().name, kind))
    }

    async fn run(mut self, kind: &str) -> Result<Report> {
        let vector = |name: &str| self.file.f64(name).map(|(_, values)| values).map_err(bad);
        let (rates, losses, norms) = (vector("in/lr")?, vector("out/loss")?, vector("out/grad_norm")?);
        if losses.len() != rates.len() || norms.len() != rates.len() {
            return Err(bad(format!("in/lr, out/loss and out/grad_norm must all have {} steps", rates.len())));
        }
        let bars = self.bars;
        let before = self.trainer.read(WEIGHTS).await?;
        for t in 0..rates.len() {
            self.trainer.step(&[self.inputs(t)?], self.settings(t as u64 + 1, rates[t])?);
            let result = self.trainer.take().await?;
            let step = format!("step {t}");
            self.groups.note("losses", bars.trajectory_loss, &step, (result.loss - losses[t]).abs() / losses[t].abs());
            let error = (result.gradient_norm - norms[t]).abs() / norms[t];
            self.groups.note("gradient_norm", bars.gradient, &step, error);
        }
        for (arena, prefix, group) in [(WEIGHTS, "final/param", "final_param"), (TEACHER, "final/ema", "final_average")]
        {
            for (after, before) in self.trainer.read(arena).await?.iter().zip(&before) {
                let want = self.values(prefix, after)?;
                let (change, error) = (difference(&before.data, want), difference(&after.data, want));
                self.groups.note(group, bars.last, &after.name, if change == 0.0 { error } else { error / change });
            }
        }
        Ok(self.groups.report(&self.trainer.device().adapter().name, kind))
    }
}

/// A tensor of the file with as many values as a parameter has.
fn check_length<'f>(file: &'f TensorFile, prefix: &str, name: &str, wanted: usize) -> Result<&'f [f32]> {
    let key = format!("{prefix}/{}", name_of(name));
    let (shape, values) = file.f32(&key).map_err(bad)?;
    if values.len() != wanted {
        return Err(bad(format!("{key} has shape {shape:?}; the configuration wants {wanted} values")));
    }
    Ok(values)
}
