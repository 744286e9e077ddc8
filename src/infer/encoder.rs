//! Features of whole images: what the encoder of a checkpoint makes of them.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    checkpoint::Model,
    data::augment::crop_share,
    device::Device,
    error::{Error, Result},
    exec::{Arenas, Executor},
    graph::Graph,
    kernels::Tuning,
    lower::{Fetch, Plan, PlanOptions, Precision},
    model::{ModelConfig, WEIGHTS, Weights, Whose, embed, inputs, inventory, of_decoder, of_encoder, position_tables},
    nn::{Layout, Params, layer_norm},
    ops::{LayerNorm, PoolTokens, SliceRows},
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
    /// Nothing: all tokens one after the other, the class token first.
    Tokens,
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

/// An encoder over weights that stand somewhere, for a batch of whole images at a time, with the weights as they are when it
/// runs. What it makes of an image does not depend on the others of the batch, nor on how many there are.
pub struct Embedder {
    executor: Executor,
    batch: usize,
    pixels: usize,
    /// Values of an image's features.
    width: usize,
}

impl Embedder {
    /// Compiles the first `blocks` blocks of an encoder over one arena of parameters.
    pub async fn over(
        device: &Device,
        config: &ModelConfig,
        (layout, arenas, arena): (&Layout, &Arenas, &'static str),
        options: FeatureOptions,
        batch: usize,
    ) -> Result<Embedder> {
        let plan = {
            let graph = Graph::new();
            let params = Params::new(&graph, layout, arena);
            let mut tokens = embed(config, batch, &params, options.blocks.unwrap_or(config.depth));
            if options.final_norm() {
                tokens = layer_norm(&params.root().at("norm"), tokens, config.layer_norm_eps);
            }
            let mut features = match options.pool {
                Pool::Mean => tokens.then(PoolTokens { first: 1 }, &[]),
                Pool::Cls => tokens.then(SliceRows { first: 0, count: 1 }, &[]).reshape(&[batch, config.width]),
                Pool::Tokens => tokens,
            };
            if options.norm == Norm::Plain {
                features = features.then(LayerNorm { eps: config.layer_norm_eps, unbiased: false }, &[]);
            }
            let tuning = Tuning::for_device(device).for_any_batch();
            let plan = PlanOptions { tuning, precision: options.precision, ..Default::default() };
            Plan::new(&graph, &[Fetch::new("features", features)], &plan)
        };
        let executor = Executor::new(device, plan, arenas).await?;
        let [(name, table), _] = position_tables(config);
        executor.write(device, name, bytemuck::cast_slice(&table));
        let raster: Vec<u32> = (0..batch).flat_map(|_| 0..config.patches() as u32).collect();
        executor.write(device, inputs::ORDER, bytemuck::cast_slice(&raster));
        let pixels = config.channels * config.image_height * config.image_width;
        let width = if options.pool == Pool::Tokens { (1 + config.patches()) * config.width } else { config.width };
        Ok(Embedder { executor, batch, pixels, width })
    }

    /// Features of images `[count, channels, height, width]`, at most a batch of them: `[count, width]`.
    pub async fn run(&self, device: &Device, images: &[f32]) -> Result<Vec<f32>> {
        let count = images.len() / self.pixels;
        assert!(count <= self.batch && images.len() == count * self.pixels, "images of at most one batch");
        // What fills up the last batch is computed too and left out.
        let mut filled = images.to_vec();
        filled.resize(self.batch * self.pixels, 0.0);
        self.executor.write(device, inputs::IMAGES, bytemuck::cast_slice(&filled));
        self.executor.run(device);
        let mut features = self.executor.read(device, "features").await?;
        features.truncate(count * self.width);
        Ok(features)
    }
}

/// The encoder of a checkpoint on a device.
pub struct Encoder {
    device: Device,
    config: ModelConfig,
    options: FeatureOptions,
    blocks: usize,
    fingerprint: String,
    embedder: Embedder,
    /// Positions of the patches that no table computes.
    positions: Option<Vec<f32>>,
    /// What embedders read.
    weights: Weights,
}

impl Encoder {
    /// The encoder of a checkpoint, for `batch` images at a time.
    ///
    /// # Errors
    /// When the checkpoint lacks the weights asked for or the GPU the room.
    pub async fn new(device: Device, model: &Model, options: FeatureOptions, batch: usize) -> Result<Encoder> {
        let fail = |reason: String| Error::checkpoint("the checkpoint", reason);
        let config = model.config.model.clone();
        let tensors = match (options.whose, &model.teacher) {
            (Whose::Student, _) => &model.tensors,
            (Whose::Teacher, Some(teacher)) => teacher,
            (Whose::Teacher, None) => return Err(fail("it has no teacher's weights; take the student's".into())),
        };
        let blocks = options.blocks.unwrap_or(config.depth);
        if !(1..=config.depth).contains(&blocks) {
            return Err(Error::Config(format!("{blocks} blocks of an encoder that has {}", config.depth)));
        }
        let wanted = |name: &str| of_encoder(name) || (options.final_norm() && name.starts_with("norm."));
        let params = inventory(&config).into_iter().filter(|param| wanted(&param.name)).collect();
        let weights = Weights::of(&device, params, false)?;
        let trained = tensors.iter().find(|tensor| tensor.name == "pos_embed").map(|tensor| &tensor.data[..]);
        for param in &weights.layout().params {
            let found = tensors.iter().find(|tensor| tensor.name == param.name && tensor.shape == param.shape);
            let Some(tensor) = found else {
                let reason =
                    format!("it holds no `{}` of shape {:?}, which these features need", param.name, param.shape);
                return Err(fail(reason));
            };
            let mut values = tensor.data.clone();
            if let Some(positions) = trained.filter(|_| param.name == "cls_token") {
                // The class token's position is the first row.
                values.iter_mut().zip(positions).for_each(|(value, position)| *value += position);
            }
            weights.write(&device, &param.name, &values);
        }
        // Fine-tuning trained the positions, or resized them.
        let resized = model.config.classifier.as_ref().map(|classifier| classifier.position_table(&config));
        let table = trained.or(resized.as_deref()).and_then(|table| table.get(config.width..));
        let positions = table.filter(|table| table.len() == config.patches() * config.width).map(<[f32]>::to_vec);
        let over = (&device, &config, &weights, positions.as_deref());
        let embedder = embedder(over, options, batch).await?;
        let fingerprint = fingerprint(tensors);
        Ok(Encoder { device, config, options, blocks, fingerprint, embedder, positions, weights })
    }

    /// The same for another number of images at a time, over the same weights.
    ///
    /// # Errors
    /// When the GPU has no room for it.
    pub async fn for_batch(&self, batch: usize) -> Result<Embedder> {
        let over = (&self.device, &self.config, &self.weights, self.positions.as_deref());
        embedder(over, self.options, batch).await
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Values of its parameters.
    pub fn parameters(&self) -> usize {
        self.weights.layout().count()
    }

    /// The network.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Images of a batch.
    pub fn batch(&self) -> usize {
        self.embedder.batch
    }

    /// How the features are made, by the keys of a feature file: features that agree in all of it can be compared.
    pub fn about(&self) -> BTreeMap<String, String> {
        let (height, width) = (self.config.image_height, self.config.image_width);
        let channels = self.config.channels;
        let units = (0..channels).map(|channel| self.config.normalise.of_channel(channel, channels));
        let (mean, std): (Vec<f32>, Vec<f32>) = units.unzip();
        let weights = if self.options.whose == Whose::Student { "student" } else { "teacher" };
        let pool = match self.options.pool {
            Pool::Mean => "mean",
            Pool::Cls => "cls",
            Pool::Tokens => "tokens",
        };
        let norm = match self.options.norm {
            Norm::Plain => "plain",
            _ if self.options.final_norm() => "final",
            _ => "none",
        };
        let mut transform = json!({"view": "evaluation", "height": height, "width": width});
        if self.config.shown_share() != crop_share(height.max(width)) {
            transform["crop_share"] = self.config.shown_share().into();
        }
        let pairs = [
            ("checkpoint", self.fingerprint.clone()),
            ("weights", weights.into()),
            ("pool", pool.into()),
            ("norm", norm.into()),
            ("blocks", self.blocks.to_string()),
            ("precision", self.options.precision.to_string()),
            ("transform", transform.to_string()),
            ("normalisation", json!({"mean": mean, "std": std}).to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Features of images `[count, channels, height, width]`, at most a batch of them: `[count, width]`.
    pub async fn run(&self, images: &[f32]) -> Result<Vec<f32>> {
        self.embedder.run(&self.device, images).await
    }

    /// The device alone.
    pub fn into_device(self) -> Device {
        self.device
    }
}

/// The encoder over weights, with positions of its own where it has any.
async fn embedder(
    (device, config, weights, positions): (&Device, &ModelConfig, &Weights, Option<&[f32]>),
    options: FeatureOptions,
    batch: usize,
) -> Result<Embedder> {
    let over = (weights.layout(), weights.arenas(), WEIGHTS);
    let embedder = Embedder::over(device, config, over, options, batch).await?;
    if let Some(table) = positions {
        embedder.executor.write(device, inputs::POSITIONS, bytemuck::cast_slice(table));
    }
    Ok(embedder)
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

#[cfg(test)]
mod tests {
    use super::*;

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
