//! Classes of whole images: what a fine-tuned network says.

use crate::{
    device::Device,
    error::Result,
    exec::{Arenas, Executor},
    graph::Graph,
    kernels::Tuning,
    lower::{Fetch, Plan, PlanOptions},
    model::{ClassifierConfig, ModelConfig, classify, inputs},
    nn::{Layout, Params},
};

/// The probabilities that logits stand for: softmax.
pub fn probabilities(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|z| (z - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// An encoder and the classifier on it.
#[derive(Clone, Copy)]
pub struct Network<'n> {
    /// The encoder.
    pub model: &'n ModelConfig,
    /// What stands on it.
    pub classifier: &'n ClassifierConfig,
}

/// Where weights are, to be read where they stand.
#[derive(Clone, Copy)]
pub struct Over<'a> {
    /// Their places in an arena.
    pub layout: &'a Layout,
    /// The arenas.
    pub arenas: &'a Arenas,
    /// The one that is read: the weights, or their moving average.
    pub arena: &'static str,
}

/// A classifier on a device, for a batch of images at a time, with the weights as they are when it runs.
pub struct Predictor {
    executor: Executor,
    batch: usize,
    pixels: usize,
    classes: usize,
}

impl Predictor {
    /// Compiles the network for `batch` images.
    pub async fn over(
        device: &Device,
        network: Network<'_>,
        over: Over<'_>,
        batch: usize,
        tuning: Tuning,
    ) -> Result<Predictor> {
        let Network { model, classifier } = network;
        let plan = {
            let graph = Graph::new();
            let params = Params::new(&graph, over.layout, over.arena);
            let logits = classify(model, classifier, batch, &params, false).logits;
            Plan::new(&graph, &[Fetch::new("logits", logits)], &PlanOptions { tuning, ..Default::default() })
        };
        let executor = Executor::new(device, plan, over.arenas).await?;
        if executor.has_input(inputs::POSITIONS) {
            let table = classifier.position_table(model);
            executor.write(device, inputs::POSITIONS, bytemuck::cast_slice(&table[model.width..]));
        }
        let pixels = model.channels * model.image_height * model.image_width;
        Ok(Predictor { executor, batch, pixels, classes: classifier.classes.len() })
    }

    /// Images of a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Logits `[count, classes]` of images `[count, channels, height, width]`, at most a batch of them.
    pub async fn run(&self, device: &Device, images: &[f32]) -> Result<Vec<f32>> {
        let count = images.len() / self.pixels;
        assert!(count <= self.batch && images.len() == count * self.pixels, "images of at most one batch");
        // What fills up the last batch is computed too and left out.
        let mut filled = images.to_vec();
        filled.resize(self.batch * self.pixels, 0.0);
        self.executor.write(device, inputs::IMAGES, bytemuck::cast_slice(&filled));
        self.executor.run(device);
        let mut logits = self.executor.read(device, "logits").await?;
        logits.truncate(count * self.classes);
        Ok(logits)
    }
}
