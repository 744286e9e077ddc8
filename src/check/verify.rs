//! A device against a fixture: one training step, or a trajectory of steps, that a float64 reference computed.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::fixture::fixture_config;
use crate::{
    device::Device,
    error::{Error, Result},
    formats::tensors::TensorFile,
    kernels::Tuning,
    lower::Precision,
    model::{ModelConfig, inventory, masking},
    ops::Settings,
    tasks::{Masked, Pretrain},
    train::{
        GRADIENTS, Trainer, TrainerOptions, WEIGHTS,
        snapshot::{NamedTensor, TEACHER},
    },
};

/// The worst error of a group of tensors, and whether it is within the group's bar.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// The worst error, relative unless the group says otherwise; NaN never passes.
    pub worst: f64,
    /// The tensor with the worst error.
    pub tensor: String,
    /// The largest error that passes.
    pub bar: f64,
    /// Whether the worst error is within the bar.
    pub pass: bool,
}

/// What a verification found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The adapter it ran on, or the processor.
    pub adapter: String,
    /// `step`, `trajectory`, `knn` or `logistic`.
    pub kind: String,
    /// Whether every group passed.
    pub pass: bool,
    /// The groups by name.
    pub groups: BTreeMap<String, Group>,
}

/// The largest errors that pass.
struct Bars {
    /// Relative, of a step's losses.
    loss: f64,
    /// Relative, of predictions and targets.
    output: f64,
    /// Relative, of a tensor's gradient and of a trajectory's gradient norms.
    gradient: f64,
    /// Of an updated weight in units of the learning rate, where the gradient exceeds 1e-6 and `adamw_share`.
    adamw: f64,
    /// A part of the gradient's root mean square in its tensor: AdamW's first update keeps of a gradient only the sign,
    /// which rounding may turn where it is small.
    adamw_share: f64,
    /// Relative, of a teacher's tensor.
    ema: f64,
    /// Relative, of a trajectory's losses.
    trajectory_loss: f64,
    /// Of final weights relative to their change.
    last: f64,
}

const F32_BARS: Bars = Bars {
    loss: 2e-6,
    output: 2e-5,
    gradient: 5e-5,
    adamw: 1e-3,
    adamw_share: 0.0,
    ema: 1e-6,
    trajectory_loss: 2e-5,
    last: 1e-3,
};

/// Three to five times what the fixtures showed on llvmpipe and SwiftShader; half precision keeps 11 bits, 4.9e-4.
const F16_BARS: Bars = Bars {
    loss: 5e-4,
    output: 3e-3,
    gradient: 1e-2,
    adamw: 1e-3,
    adamw_share: 0.1,
    ema: 3e-5,
    trajectory_loss: 1e-3,
    last: 2e-2,
};

/// Runs a fixture on `device`. `Err` holds what is wrong with the fixture, or the device's error.
pub async fn verify(device: Device, tuning: Tuning, precision: Precision, file: &TensorFile) -> Result<Report> {
    let kind: String = file.json("kind").map_err(bad)?;
    match kind.as_str() {
        "step" => Fixture::open(device, tuning, precision, file, true).await?.step().await,
        "trajectory" => Fixture::open(device, tuning, precision, file, false).await?.trajectory().await,
        other => Err(bad(format!("kind `{other}` is none of `step`, `trajectory`, `knn` and `logistic`"))),
    }
}

/// A fixture whose weights are on the device.
pub struct Fixture<'f> {
    file: &'f TensorFile,
    config: ModelConfig,
    trainer: Trainer,
    batch: usize,
    bars: &'static Bars,
    groups: BTreeMap<String, Group>,
}

/// Refuses a configuration whose parameters are not in the file or whose activations no binding can hold, before
/// anything is computed or allocated from its sizes.
fn check_sizes(device: &Device, config: &ModelConfig, batch: usize, file: &TensorFile) -> Result<()> {
    for param in inventory(config) {
        let wanted: u64 = param.shape.iter().map(|extent| *extent as u64).product();
        for prefix in ["param", "teacher"] {
            let key = format!("{prefix}/{}", fixture_name(&param.name));
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

fn bad(reason: String) -> Error {
    Error::checkpoint("fixture", reason)
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
        let bars = match precision {
            Precision::F32 => &F32_BARS,
            Precision::F16 => &F16_BARS,
        };
        let fixture = Fixture { file, config, trainer, batch, bars, groups: BTreeMap::new() };
        for (prefix, arena) in [("param", WEIGHTS), ("teacher", TEACHER)] {
            for param in &fixture.trainer.layout().params {
                fixture.trainer.write(arena, &param.name, fixture.values(prefix, &param.name, param.len())?);
            }
        }
        Ok(fixture)
    }

    /// The trainer, its weights being the fixture's.
    pub fn trainer(&mut self) -> &mut Trainer {
        &mut self.trainer
    }

    fn values(&self, prefix: &str, name: &str, len: usize) -> Result<&'f [f32]> {
        let key = format!("{prefix}/{}", fixture_name(name));
        let (shape, values) = self.file.f32(&key).map_err(bad)?;
        if values.len() != len {
            return Err(bad(format!("{key} has shape {shape:?}; the configuration wants {len} values")));
        }
        Ok(values)
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
        let entry = self.groups.entry(group.into());
        let group = entry.or_insert_with(|| Group { worst: 0.0, tensor: tensor.into(), bar, pass: true });
        if error.is_nan() || error > group.worst {
            (group.worst, group.tensor) = (error, tensor.into());
        }
        group.pass = group.worst <= bar;
    }

    fn report(self, kind: &str) -> Report {
        let adapter = self.trainer.device().adapter().name.clone();
        Report { adapter, kind: kind.into(), pass: self.groups.values().all(|g| g.pass), groups: self.groups }
    }

    async fn step(mut self) -> Result<Report> {
        let (images, order, loss_weights) = self.batch(0)?;
        let (lr, lambda) = (self.number("lr")?, self.number("lambda")?);
        let settings = self.settings(1, lr, self.number("ema_decay")?)?;
        let masked = Masked { images, order: &order, loss_weights: &loss_weights, feature_weight: lambda as f32 };
        self.trainer.step(&[masked.into()], settings);
        let result = self.trainer.take().await?;
        let [pixel, feature] = ["loss_pixel", "loss_feature"].map(|name| result.scalars[name]);
        let losses = [("loss", result.loss), ("loss_pix", pixel), ("loss_feat", feature)];
        for (name, got) in losses {
            let want = first(self.file.f64(&format!("out/{name}")).map_err(bad)?.1)?;
            self.note("losses", self.bars.loss, name, (got - want).abs() / want.abs());
        }
        let outputs = [("out/pix", "pixels"), ("out/feat", "features"), ("out/feat_target_ln", "feature_target")];
        for (key, output) in outputs {
            let got = self.trainer.pass().read(self.trainer.device(), output).await?;
            let want = self.masked_rows(key, &order)?;
            self.note("out", self.bars.output, key, relative(&got, &want));
        }
        self.check_gradients(result.loss_scale).await?;
        for tensor in self.trainer.read(WEIGHTS).await? {
            let want = self.values("after_adamw", &tensor.name, tensor.data.len())?;
            let gradient = self.values("grad", &tensor.name, tensor.data.len())?;
            let mean = norm(gradient) / (gradient.len() as f64).sqrt();
            let least = (self.bars.adamw_share * mean).max(1e-6);
            let counts = |g: f32| g.is_nan() || f64::from(g.abs()) > least;
            let compared = tensor.data.iter().zip(want).zip(gradient).filter(|(_, g)| counts(**g));
            for ((got, want), _) in compared {
                self.note("after_adamw", self.bars.adamw, &tensor.name, f64::from(got - want).abs() / lr);
            }
        }
        for tensor in self.trainer.read(TEACHER).await? {
            let want = self.values("after_ema", &tensor.name, tensor.data.len())?;
            self.note("after_ema", self.bars.ema, &tensor.name, relative(&tensor.data, want));
        }
        Ok(self.report("step"))
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
            let error = relative(data, want);
            let tiny = norm(want) < 1e-6 * largest;
            self.note("grad", self.bars.gradient, name, if tiny { difference(data, want) } else { error });
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
        Ok(masked.flat_map(|(b, cell)| &values[(b * n + cell as usize) * width..][..width]).copied().collect())
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
        for ((arena, group), before) in [(WEIGHTS, "param"), (TEACHER, "teacher")].into_iter().zip(&initial) {
            for (after, before) in self.trainer.read(arena).await?.iter().zip(before) {
                let want = self.values(&format!("final/{group}"), &after.name, after.data.len())?;
                let change = difference(&before.data, want);
                let error = difference(&after.data, want);
                let error = if change == 0.0 { error } else { error / change };
                self.note(&format!("final_{group}"), self.bars.last, &after.name, error);
            }
        }
        Ok(self.report("trajectory"))
    }
}

fn first(values: &[f64]) -> Result<f64> {
    values.first().copied().ok_or_else(|| bad("a loss is empty".into()))
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

fn difference(got: &[f32], want: &[f32]) -> f64 {
    got.iter().zip(want).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

/// ‖got − want‖ / ‖want‖, or ‖got − want‖ where nothing is wanted; NaN where lengths differ.
fn relative(got: &[f32], want: &[f32]) -> f64 {
    if got.len() != want.len() {
        return f64::NAN;
    }
    let norm = norm(want);
    if norm == 0.0 { difference(got, want) } else { difference(got, want) / norm }
}

/// The name of a parameter in fixtures: `blocks.0.norm1.weight` is `enc.0.ln1.g`.
fn fixture_name(name: &str) -> String {
    let mut parts: Vec<&str> = name.split('.').collect();
    let norm = parts.len() >= 2 && parts[parts.len() - 2].starts_with("norm");
    if let Some(leaf) = parts.last_mut() {
        *leaf = match *leaf {
            "weight" if norm => "g",
            "weight" => "w",
            "bias" => "b",
            "cls_token" => "cls",
            "mask_token" => "mask",
            other => other,
        };
    }
    let branch = parts[0].ends_with("_decoder");
    let named = parts.iter().filter(|part| **part != "blocks").map(|part| match *part {
        "pixel_decoder" => "pix",
        "feature_decoder" => "feat",
        "embed" => "in",
        "patch_embed" => "patch",
        "norm1" if branch => "ln_self",
        "norm2" if branch => "ln_mlp",
        "norm_q" => "ln_q",
        "norm_kv" => "ln_kv",
        "norm1" => "ln1",
        "norm2" => "ln2",
        "attn" if branch => "self",
        "cross_attn" => "cross",
        other => other,
    });
    let joined = named.collect::<Vec<_>>().join(".").replace("patch.proj", "patch");
    if parts[0] == "blocks" || parts[0] == "norm" { format!("enc.{joined}") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::fixture_name;

    #[test]
    fn names_map_to_the_fixtures_own() {
        let pairs = [
            ("patch_embed.proj.weight", "patch.w"),
            ("cls_token", "cls"),
            ("blocks.3.norm1.weight", "enc.3.ln1.g"),
            ("blocks.0.attn.proj.bias", "enc.0.attn.proj.b"),
            ("norm.bias", "enc.norm.b"),
            ("pixel_decoder.embed.weight", "pix.in.w"),
            ("pixel_decoder.mask_token", "pix.mask"),
            ("feature_decoder.blocks.1.norm_kv.weight", "feat.1.ln_kv.g"),
            ("pixel_decoder.blocks.0.attn.q_bias", "pix.0.self.q_bias"),
            ("pixel_decoder.blocks.0.cross_attn.kv.weight", "pix.0.cross.kv.w"),
            ("feature_decoder.norm.weight", "feat.norm.g"),
            ("pixel_decoder.head.weight", "pix.head.w"),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(fixture_name(ours), theirs);
        }
    }
}
