//! A device against a fixture: one training step, or a trajectory of steps, that a float64 reference computed.

use std::{borrow::Cow, sync::Arc};

use super::{
    compare::{Bars, CLASSIFY_F32_BARS, F16_BARS, F32_BARS, Groups, Report, bad, difference, first, norm, relative},
    finetune,
    fixture::fixture_config,
    names::fixture_name,
};
use crate::{
    device::Device,
    error::Result,
    formats::tensors::TensorFile,
    kernels::Tuning,
    lower::Precision,
    model::{ModelConfig, channels_first, config::Kind, inventory, masking},
    ops::Settings,
    tasks::{Masked, Pretrain},
    train::{
        GRADIENTS, Trainer, TrainerOptions, WEIGHTS,
        snapshot::{NamedTensor, TEACHER},
    },
};

/// Runs a fixture on `device`. `Err` holds what is wrong with the fixture, or the device's error.
pub async fn verify(device: Device, tuning: Tuning, precision: Precision, file: &TensorFile) -> Result<Report> {
    let kind: String = file.json("kind").map_err(bad)?;
    match kind.as_str() {
        "step" | "mae_step" => Fixture::open(device, tuning, precision, file, true).await?.step(&kind).await,
        "trajectory" => Fixture::open(device, tuning, precision, file, false).await?.trajectory().await,
        "finetune_step" | "finetune_run" => finetune::verify(device, tuning, precision, file, &kind).await,
        other => Err(bad(format!("kind `{other}` is none that is known"))),
    }
}

/// A fixture whose weights are on the device.
pub struct Fixture<'f> {
    file: &'f TensorFile,
    config: ModelConfig,
    trainer: Trainer,
    batch: usize,
    bars: &'static Bars,
    groups: Groups,
}

/// Refuses a configuration whose parameters are not in the file or whose activations no binding can hold, before
/// anything is computed or allocated from its sizes.
fn check_sizes(device: &Device, config: &ModelConfig, batch: usize, file: &TensorFile) -> Result<()> {
    for param in inventory(config) {
        let wanted: u64 = param.shape.iter().map(|extent| *extent as u64).product();
        for prefix in ["param", "teacher"].into_iter().take(if config.feature_branch { 2 } else { 1 }) {
            let key = format!("{prefix}/{}", fixture_name(config.kind, &param.name));
            let (shape, values) = file.f32(&key).map_err(bad)?;
            if values.len() as u64 != wanted {
                return Err(bad(format!("{key} has shape {shape:?}; the configuration wants {wanted} values")));
            }
        }
    }
    let width = config.width.max(config.pixel_decoder_width);
    let widest = (config.mlp_ratio.max(3) * width).max(config.patch_values());
    let bytes = (batch * (config.patches() + 1)) as u64 * widest as u64 * 4;
    if bytes > device.max_binding_bytes() {
        let (name, most) = (&device.adapter().name, device.max_binding_bytes());
        return Err(bad(format!("an activation would take up to {bytes} bytes; {name} binds at most {most}")));
    }
    Ok(())
}

impl<'f> Fixture<'f> {
    /// Builds the fixture's model and writes its weights and teacher.
    pub async fn open(
        device: Device,
        tuning: Tuning,
        precision: Precision,
        file: &'f TensorFile,
        inspect: bool,
    ) -> Result<Fixture<'f>> {
        let config = fixture_config(&file.metadata).map_err(bad)?;
        config.check().map_err(|e| bad(e.to_string()))?;
        let (shape, images) = file.f32("in/images").map_err(bad)?;
        let lead = shape.len().saturating_sub(4);
        let wanted = [config.channels, config.image_height, config.image_width];
        if !(4..=5).contains(&shape.len()) || shape[lead + 1..] != wanted || images.is_empty() {
            return Err(bad(format!("in/images has shape {shape:?}; its configuration wants [.., {wanted:?}]")));
        }
        let batch = shape[lead];
        check_sizes(&device, &config, batch, file)?;
        let options = TrainerOptions { inspect, precision, ..TrainerOptions::new(batch, 1, tuning) };
        let trainer = Trainer::new(device, Arc::new(Pretrain::of(&config)), options).await?;
        trainer.initialise(0);
        let bars = match (precision, config.kind) {
            (Precision::F32, Kind::Bootmae) => &F32_BARS,
            (Precision::F32, Kind::Mae) => &CLASSIFY_F32_BARS,
            (Precision::F16, _) => &F16_BARS,
        };
        let fixture = Fixture { file, config, trainer, batch, bars, groups: Groups::default() };
        for (prefix, arena) in fixture.arenas() {
            for param in &fixture.trainer.layout().params {
                fixture.trainer.write(arena, &param.name, &fixture.values(prefix, &param.name, param.len())?);
            }
        }
        Ok(fixture)
    }

    /// The trainer, its weights being the fixture's.
    pub fn trainer(&mut self) -> &mut Trainer {
        &mut self.trainer
    }

    /// The weights, and the teacher's where there is one: their names in the file and here.
    fn arenas(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        [("param", WEIGHTS), ("teacher", TEACHER)].into_iter().take(if self.config.feature_branch { 2 } else { 1 })
    }

    fn values(&self, prefix: &str, name: &str, len: usize) -> Result<Cow<'f, [f32]>> {
        let key = format!("{prefix}/{}", fixture_name(self.config.kind, name));
        let (shape, values) = self.file.f32(&key).map_err(bad)?;
        if values.len() != len {
            return Err(bad(format!("{key} has shape {shape:?}; the configuration wants {len} values")));
        }
        // MAE's head lists a pixel's channels side by side.
        let head = self.config.kind == Kind::Mae && name.starts_with("pixel_decoder.head.");
        let width = len / self.config.patch_values().max(1);
        Ok(if head { channels_first(values, self.config.channels, width).into() } else { values.into() })
    }

    fn number(&self, key: &str) -> Result<f64> {
        self.file.json(key).map_err(bad)
    }

    fn settings(&self, t: u64, lr: f64, ema: f64) -> Result<Settings> {
        let betas: [f64; 2] = self.file.json("betas").map_err(bad)?;
        Ok(Settings::new(t, lr, self.number("wd")?, (betas[0], betas[1]), self.number("adam_eps")?, ema))
    }

    /// The images, orders and loss weights of step `t`.
    pub fn batch(&self, t: usize) -> Result<(&'f [f32], Vec<u32>, Vec<f32>)> {
        let config = &self.config;
        let (pixels, n) = (config.channels * config.image_height * config.image_width, config.patches());
        let images = self.file.f32("in/images").map_err(bad)?.1;
        let order = self.file.i64("in/order").map_err(bad)?.1;
        let part = |len: usize| t * self.batch * len..(t + 1) * self.batch * len;
        let (Some(images), Some(order)) = (images.get(part(pixels)), order.get(part(n))) else {
            return Err(bad(format!("in/images or in/order ends before step {t}")));
        };
        let order: Vec<u32> = order.iter().map(|i| u32::try_from(*i).unwrap_or(u32::MAX)).collect();
        for row in order.chunks(n) {
            let mut sorted = row.to_vec();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..n as u32) {
                return Err(bad(format!("in/order is not a permutation of {n} patches")));
            }
        }
        let weights = order.chunks(n).flat_map(|row| masking::loss_weights(config, row)).collect();
        Ok((images, order, weights))
    }

    fn note(&mut self, group: &str, bar: f64, tensor: &str, error: f64) {
        self.groups.note(group, bar, tensor, error);
    }

    fn report(self, kind: &str) -> Report {
        self.groups.report(&self.trainer.device().adapter().name, kind)
    }

    async fn step(mut self, kind: &str) -> Result<Report> {
        let (images, order, loss_weights) = self.batch(0)?;
        let teacher = self.config.feature_branch;
        let lr = self.number("lr")?;
        let (lambda, ema) = if teacher { (self.number("lambda")?, self.number("ema_decay")?) } else { (0.0, 0.0) };
        let settings = self.settings(1, lr, ema)?;
        let masked = Masked { images, order: &order, loss_weights: &loss_weights, feature_weight: lambda as f32 };
        self.trainer.step(&[masked.into()], settings);
        let result = self.trainer.take().await?;
        let mut losses = vec![("loss", result.loss)];
        let mut outputs = vec![("out/pred", "pixels")];
        if teacher {
            losses.extend(
                [("loss_pix", "loss_pixel"), ("loss_feat", "loss_feature")].map(|(a, b)| (a, result.scalars[b])),
            );
            outputs = vec![("out/pix", "pixels"), ("out/feat", "features"), ("out/feat_target_ln", "feature_target")];
        }
        for (name, got) in losses {
            let want = first(self.file.f64(&format!("out/{name}")).map_err(bad)?.1)?;
            self.note("losses", self.bars.loss, name, (got - want).abs() / want.abs());
        }
        for (key, output) in outputs {
            let got = self.trainer.pass().read(self.trainer.device(), output).await?;
            let want = self.masked_rows(key, &order)?;
            self.note("out", self.bars.output, key, relative(&got, &want));
        }
        self.check_gradients(result.loss_scale).await?;
        for tensor in self.trainer.read(WEIGHTS).await? {
            let want = self.values("after_adamw", &tensor.name, tensor.data.len())?;
            let gradient = self.values("grad", &tensor.name, tensor.data.len())?;
            let mean = norm(&gradient) / (gradient.len() as f64).sqrt();
            let least = (self.bars.adamw_share * mean).max(1e-6);
            for ((got, want), gradient) in tensor.data.iter().zip(&*want).zip(&*gradient) {
                let error = f64::from(got - want).abs() / lr;
                if gradient.is_nan() || f64::from(gradient.abs()) > least {
                    self.note("after_adamw", self.bars.adamw, &tensor.name, error);
                } else if let Some(bar) = self.bars.adamw_elsewhere {
                    self.note("after_adamw, small gradients", bar, &tensor.name, error);
                }
            }
        }
        for tensor in if teacher { self.trainer.read(TEACHER).await? } else { Vec::new() } {
            let want = self.values("after_ema", &tensor.name, tensor.data.len())?;
            self.note("after_ema", self.bars.ema, &tensor.name, relative(&tensor.data, &want));
        }
        Ok(self.report(kind))
    }

    /// Gradients, tensor by tensor; one whose norm is under 1e-6 of the largest is compared absolutely.
    async fn check_gradients(&mut self, scale: Option<f64>) -> Result<()> {
        let mut tensors = self.trainer.read(GRADIENTS).await?;
        if let Some(scale) = scale {
            tensors.iter_mut().flat_map(|tensor| &mut tensor.data).for_each(|g| *g /= scale as f32);
        }
        let mut wanted = Vec::new();
        for tensor in &tensors {
            wanted.push(self.values("grad", &tensor.name, tensor.data.len())?);
        }
        let largest = wanted.iter().map(|want| norm(want)).fold(0.0, f64::max);
        for (NamedTensor { name, data, .. }, want) in tensors.iter().zip(wanted) {
            let error = relative(data, &want);
            let tiny = norm(&want) < 1e-6 * largest;
            self.note("grad", self.bars.gradient, name, if tiny { difference(data, &want) } else { error });
        }
        Ok(())
    }

    /// The masked patches' rows of a fixture's output, in the order of the masked slots: the rows that the losses use
    /// and that the model computes.
    fn masked_rows(&self, key: &str, order: &[u32]) -> Result<Vec<f32>> {
        let config = &self.config;
        let (n, visible) = (config.patches(), config.visible());
        let (shape, values) = self.file.f32(key).map_err(bad)?;
        if shape.len() < 3 || shape[..2] != [self.batch, n] {
            return Err(bad(format!("{key} has shape {shape:?}; the configuration wants [{}, {n}, ..]", self.batch)));
        }
        let width = values.len() / (self.batch * n);
        let masked = order.chunks(n).enumerate().flat_map(|(b, row)| row[visible..].iter().map(move |cell| (b, *cell)));
        let rows = masked.map(|(b, cell)| &values[(b * n + cell as usize) * width..][..width]);
        Ok(match config.kind {
            Kind::Bootmae => rows.flatten().copied().collect(),
            Kind::Mae => rows.flat_map(|row| channels_first(row, config.channels, 1)).collect(),
        })
    }

    async fn trajectory(mut self) -> Result<Report> {
        let vector = |name: &str| self.file.f64(name).map(|(_, values)| values).map_err(bad);
        let (lr, ema, lambda) = (vector("in/lr")?, vector("in/ema")?, vector("in/lambda")?);
        let wanted = [vector("out/loss")?, vector("out/loss_pix")?, vector("out/loss_feat")?];
        let norms = vector("out/grad_norm")?;
        if [ema, lambda, norms, wanted[0], wanted[1], wanted[2]].iter().any(|v| v.len() != lr.len()) {
            return Err(bad(format!("schedules and losses must all have {} steps", lr.len())));
        }
        let initial = [self.trainer.read(WEIGHTS).await?, self.trainer.read(TEACHER).await?];
        for t in 0..lr.len() {
            let (images, order, loss_weights) = self.batch(t)?;
            let settings = self.settings(t as u64 + 1, lr[t], ema[t])?;
            let feature_weight = lambda[t] as f32;
            let masked = Masked { images, order: &order, loss_weights: &loss_weights, feature_weight };
            self.trainer.step(&[masked.into()], settings);
            let result = self.trainer.take().await?;
            let got = [result.loss, result.scalars["loss_pixel"], result.scalars["loss_feature"]];
            for ((name, got), want) in ["loss", "loss_pix", "loss_feat"].iter().zip(got).zip(&wanted) {
                let error = (got - want[t]).abs() / want[t].abs();
                self.note("losses", self.bars.trajectory_loss, &format!("{name}, step {t}"), error);
            }
            let error = (result.gradient_norm - norms[t]).abs() / norms[t];
            self.note("gradient_norm", self.bars.gradient, &format!("step {t}"), error);
        }
        for ((group, arena), before) in self.arenas().zip(&initial) {
            for (after, before) in self.trainer.read(arena).await?.iter().zip(before) {
                let want = self.values(&format!("final/{group}"), &after.name, after.data.len())?;
                let change = difference(&before.data, &want);
                let error = difference(&after.data, &want);
                let error = if change == 0.0 { error } else { error / change };
                self.note(&format!("final_{group}"), self.bars.last, &after.name, error);
            }
        }
        Ok(self.report("trajectory"))
    }
}
