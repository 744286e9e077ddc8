//! Features of whole images: what the encoder of a checkpoint makes of them.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    checkpoint::Model,
    device::Device,
    error::{Error, Result},
    exec::Executor,
    graph::Graph,
    kernels::Tuning,
    lower::{Fetch, Plan, PlanOptions, Precision},
    model::{ModelConfig, TEACHER, WEIGHTS, Weights, Whose, embed, inputs, of_decoder, position_tables},
    nn::{Params, layer_norm},
    train::snapshot::NamedTensor,
};

/// What is made one vector of an image's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pool {
    /// The mean of the patch tokens; the class token is left out.
    #[default]
    Mean,
    /// The class token after the encoder's final norm.
    Cls,
}

/// How features are normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Norm {
    /// Not at all; the class token always takes the final norm.
    #[default]
    None,
    /// Every token by the encoder's final norm, before pooling.
    Final,
    /// The pooled vector by a LayerNorm without gain and bias.
    Plain,
}

/// Which features are computed.
#[derive(Clone, Copy, Debug)]
pub struct FeatureOptions {
    /// The student's encoder, or the teacher's.
    pub whose: Whose,
    /// What is made one vector of the tokens.
    pub pool: Pool,
    /// How it is normalised.
    pub norm: Norm,
    /// Blocks of the encoder that are run; none for all.
    pub blocks: Option<usize>,
    /// In what precision matmuls read their operands.
    pub precision: Precision,
}

impl FeatureOptions {
    /// Whether every token passes through the final norm.
    fn final_norm(&self) -> bool {
        self.pool == Pool::Cls || self.norm == Norm::Final
    }
}

/// An encoder on a device, for a batch of whole images at a time. What it makes of an image does not depend on the others
/// of the batch, nor on how many there are.
pub struct Encoder {
    device: Device,
    config: ModelConfig,
    options: FeatureOptions,
    blocks: usize,
    fingerprint: String,
    batch: usize,
    executor: Executor,
}

impl Encoder {
    /// The encoder of a checkpoint, for `batch` images at a time.
    ///
    /// # Errors
    /// When the checkpoint lacks the weights asked for or the GPU the room.
    pub async fn new(device: Device, model: &Model, options: FeatureOptions, batch: usize) -> Result<Encoder> {
        let fail = |reason: String| Error::checkpoint("the checkpoint", reason);
        let mut config = model.config.model.clone();
        config.feature_branch &= model.teacher.is_some();
        let (arena, tensors) = match (options.whose, &model.teacher) {
            (Whose::Student, _) => (WEIGHTS, &model.tensors),
            (Whose::Teacher, Some(teacher)) if config.feature_branch => (TEACHER, teacher),
            (Whose::Teacher, _) => return Err(fail("it has no teacher's weights; take the student's".into())),
        };
        let blocks = options.blocks.unwrap_or(config.depth);
        if !(1..=config.depth).contains(&blocks) {
            return Err(Error::Config(format!("{blocks} blocks of an encoder that has {}", config.depth)));
        }
        let weights = Weights::new(&device, &config)?;
        model.write(&device, &weights).map_err(fail)?;
        let plan = {
            let graph = Graph::new();
            let params = Params::new(&graph, weights.layout(), arena);
            let mut tokens = embed(&config, batch, &params, blocks);
            if options.final_norm() {
                tokens = layer_norm(&params.root().at("norm"), tokens, config.layer_norm_eps);
            }
            let tuning = Tuning::for_device(&device).for_any_batch();
            let plan = PlanOptions { tuning, precision: options.precision, ..Default::default() };
            Plan::new(&graph, &[Fetch::new("tokens", tokens)], &plan)
        };
        let executor = Executor::new(&device, plan, weights.arenas()).await?;
        for (name, table) in position_tables(&config) {
            if executor.has_input(name) {
                executor.write(&device, name, bytemuck::cast_slice(&table));
            }
        }
        let raster: Vec<u32> = (0..batch).flat_map(|_| 0..config.patches() as u32).collect();
        executor.write(&device, inputs::ORDER, bytemuck::cast_slice(&raster));
        let fingerprint = fingerprint(tensors);
        Ok(Encoder { device, config, options, blocks, fingerprint, batch, executor })
    }

    /// The network.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Images of a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// How the features are made, by the keys of a feature file: features that agree in all of it can be compared.
    pub fn about(&self) -> BTreeMap<String, String> {
        let (height, width) = (self.config.image_height, self.config.image_width);
        let mean = vec![0.5; self.config.channels];
        let weights = if self.options.whose == Whose::Student { "student" } else { "teacher" };
        let pool = if self.options.pool == Pool::Mean { "mean" } else { "cls" };
        let norm = match self.options.norm {
            Norm::Plain => "plain",
            _ if self.options.final_norm() => "final",
            _ => "none",
        };
        let pairs = [
            ("checkpoint", self.fingerprint.clone()),
            ("weights", weights.into()),
            ("pool", pool.into()),
            ("norm", norm.into()),
            ("blocks", self.blocks.to_string()),
            ("precision", self.options.precision.to_string()),
            ("transform", json!({"view": "evaluation", "height": height, "width": width}).to_string()),
            ("normalisation", json!({"mean": mean, "std": mean}).to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Features of images `[count, channels, height, width]`, at most a batch of them: `[count, width]`.
    pub async fn run(&self, images: &[f32]) -> Result<Vec<f32>> {
        let config = &self.config;
        let pixels = config.channels * config.image_height * config.image_width;
        let count = images.len() / pixels;
        assert!(count <= self.batch && images.len() == count * pixels, "images of at most one batch");
        // What fills up the last batch is computed too and left out.
        let mut filled = images.to_vec();
        filled.resize(self.batch * pixels, 0.0);
        self.executor.write(&self.device, inputs::IMAGES, bytemuck::cast_slice(&filled));
        self.executor.run(&self.device);
        let mut features = self.pooled(count).await?;
        if self.options.norm == Norm::Plain {
            features.chunks_mut(config.width).for_each(|row| normalise(row, config.layer_norm_eps));
        }
        Ok(features)
    }

    /// One vector for each of the first `count` images of the batch that has run, `[count, width]`.
    async fn pooled(&self, count: usize) -> Result<Vec<f32>> {
        let tokens = self.executor.read(&self.device, "tokens").await?;
        let width = self.config.width;
        let images = tokens.chunks((1 + self.config.patches()) * width).take(count);
        Ok(match self.options.pool {
            Pool::Mean => images.flat_map(|image| mean(&image[width..], width)).collect(),
            Pool::Cls => images.flat_map(|image| &image[..width]).copied().collect(),
        })
    }
}

/// A hash of the weights that features depend on, decoders left out: in hexadecimal.
fn fingerprint(tensors: &[NamedTensor]) -> String {
    let mut own: Vec<&NamedTensor> = tensors.iter().filter(|tensor| !of_decoder(&tensor.name)).collect();
    own.sort_by(|a, b| a.name.cmp(&b.name));
    let mut hasher = blake3::Hasher::new();
    for NamedTensor { name, shape, data } in own {
        hasher.update(format!("{name} {shape:?}\n").as_bytes());
        hasher.update(bytemuck::cast_slice(data));
    }
    hasher.finalize().to_hex().to_string()
}

/// The mean of rows of `width` values.
fn mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; width];
    for row in rows.chunks(width) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let count = (rows.len() / width) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// LayerNorm without gain and bias.
fn normalise(row: &mut [f32], eps: f32) {
    let count = row.len() as f64;
    let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let variance = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
    let deviation = (variance + f64::from(eps)).sqrt();
    row.iter_mut().for_each(|v| *v = ((f64::from(*v) - mean) / deviation) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_of_rows() {
        assert_eq!(mean(&[1.0, 2.0, 3.0, 6.0], 2), [2.0, 4.0]);
    }

    #[test]
    fn a_plain_norm_leaves_mean_0_and_variance_1() {
        let mut row = [1.0, 3.0, 1.0, 3.0];
        normalise(&mut row, 0.0);
        assert_eq!(row, [-1.0, 1.0, -1.0, 1.0]);
    }

    #[test]
    fn a_fingerprint_is_of_the_encoders_values_and_names() {
        let tensor = |name: &str, data: &[f32]| NamedTensor { name: name.into(), shape: vec![2], data: data.to_vec() };
        let (a, b) = (tensor("norm.weight", &[1.0, 2.0]), tensor("norm.bias", &[0.0, 0.0]));
        let whole = fingerprint(&[a.clone(), b.clone()]);
        let with_decoder = [b.clone(), tensor("pixel_decoder.norm.bias", &[0.0, 1.0]), a.clone()];
        assert_eq!(fingerprint(&with_decoder), whole);
        assert_ne!(fingerprint(&[a.clone(), tensor("norm.bias", &[0.0, 1.0])]), whole);
        assert_ne!(fingerprint(&[a, tensor("norm.gain", &[0.0, 0.0])]), whole);
    }
}
