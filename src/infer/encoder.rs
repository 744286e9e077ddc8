//! Features of whole images: what the encoder of a checkpoint makes of them.

use crate::{
    checkpoint::Model,
    device::Device,
    error::{Error, Result},
    exec::Executor,
    graph::Graph,
    kernels::Tuning,
    lower::{Fetch, Plan, PlanOptions},
    model::{ModelConfig, TEACHER, WEIGHTS, Weights, Whose, embed, inputs, position_tables},
    nn::Params,
};

/// Which features are computed.
#[derive(Clone, Copy, Debug)]
pub struct FeatureOptions {
    /// The student's encoder, or the teacher's.
    pub whose: Whose,
    /// Blocks of the encoder that are run; none for all.
    pub blocks: Option<usize>,
}

/// An encoder on a device, for a batch of whole images at a time. The feature of an image is the mean of its patch tokens
/// after the last block, before any norm; the class token is left out.
pub struct Encoder {
    device: Device,
    config: ModelConfig,
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
        let arena = match options.whose {
            Whose::Student => WEIGHTS,
            Whose::Teacher if config.feature_branch => TEACHER,
            Whose::Teacher => return Err(fail("it has no teacher's weights; take the student's".into())),
        };
        let blocks = options.blocks.unwrap_or(config.depth);
        if !(1..=config.depth).contains(&blocks) {
            return Err(Error::Config(format!("{blocks} blocks of an encoder that has {}", config.depth)));
        }
        let weights = Weights::new(&device, &config)?;
        model.write(&device, &weights).map_err(fail)?;
        let plan = {
            let graph = Graph::new();
            let tokens = embed(&config, batch, &Params::new(&graph, weights.layout(), arena), blocks);
            let options = PlanOptions { tuning: Tuning::for_device(&device), ..Default::default() };
            Plan::new(&graph, &[Fetch::new("tokens", tokens)], &options)
        };
        let executor = Executor::new(&device, plan, weights.arenas()).await?;
        for (name, table) in position_tables(&config) {
            if executor.has_input(name) {
                executor.write(&device, name, bytemuck::cast_slice(&table));
            }
        }
        let raster: Vec<u32> = (0..batch).flat_map(|_| 0..config.patches() as u32).collect();
        executor.write(&device, inputs::ORDER, bytemuck::cast_slice(&raster));
        Ok(Encoder { device, config, batch, executor })
    }

    /// The network.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Images of a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Features of images `[count, channels, height, width]`, at most a batch of them: `[count, width]`.
    pub async fn run(&self, images: &[f32]) -> Result<Vec<f32>> {
        let config = &self.config;
        let pixels = config.channels * config.image_height * config.image_width;
        let (count, width) = (images.len() / pixels, config.width);
        assert!(count <= self.batch && images.len() == count * pixels, "images of at most one batch");
        // What fills up the last batch is computed too and left out.
        let mut filled = images.to_vec();
        filled.resize(self.batch * pixels, 0.0);
        self.executor.write(&self.device, inputs::IMAGES, bytemuck::cast_slice(&filled));
        self.executor.run(&self.device);
        let tokens = self.executor.read(&self.device, "tokens").await?;
        Ok(tokens
            .chunks((1 + config.patches()) * width)
            .take(count)
            .flat_map(|image| mean(&image[width..], width))
            .collect())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_of_rows() {
        assert_eq!(mean(&[1.0, 2.0, 3.0, 6.0], 2), [2.0, 4.0]);
    }
}
