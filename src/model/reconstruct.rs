//! Masked reconstruction: what the network makes of the visible patches of an image.

use super::{Features, ModelConfig, config::PixelTarget, inputs, inventory, position_tables, record};
use crate::{
    device::{Device, Readback},
    error::Result,
    graph::{Arenas, Executor, Fetch, Graph, Plan, PlanOptions},
    nn::{Layout, Params},
    ops::Tuning,
};

const WEIGHTS: &str = "weights";
const TEACHER: &str = "teacher";

/// Encoder and decoders on a device, for one image at a time.
pub struct Reconstructor {
    config: ModelConfig,
    executor: Executor,
}

/// The weights of a [`Reconstructor`] that stands alone.
pub struct Weights {
    layout: Layout,
    arenas: Arenas,
}

impl Weights {
    /// The parameters that the pixel branch needs.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Writes one parameter.
    pub fn write(&self, device: &Device, name: &str, values: &[f32]) {
        let place = self.layout.place(WEIGHTS, name);
        self.arenas.write(device, WEIGHTS, place.shard, place.offset, bytemuck::cast_slice(values));
    }
}

/// A reconstructed image.
pub struct Reconstruction {
    /// The visible patches as they were, the others as predicted, `[channels, height, width]`, normalised like the input;
    /// predictions carry the mean and contrast of the true patch where the target was normalised.
    pub image: Vec<f32>,
    /// Mean squared error of the masked patches in the units of the target.
    pub target_error: f64,
    /// Mean squared error of the masked patches' pixels, in the units of the input (−1 to 1).
    pub pixel_error: f64,
    /// Predicted features and the momentum encoder's, where both are at hand.
    pub features: Option<Features>,
}

/// A reconstruction that is on its way.
pub struct Begun {
    pixels: Readback,
    features: Option<[Readback; 2]>,
}

impl Reconstructor {
    /// Allocates and compiles the pixel branch of `config` with weights of its own, which come with [`Weights::write`].
    pub async fn new(device: &Device, config: &ModelConfig) -> Result<(Reconstructor, Weights)> {
        let config = ModelConfig { feature_branch: false, ..config.clone() };
        let layout = Layout::new(inventory(&config), device.max_binding_bytes().min(128 << 20));
        let mut arenas = Arenas::default();
        for (index, shard) in layout.shards.iter().enumerate() {
            arenas.add(device, WEIGHTS, index, shard.len as u64 * 4)?;
        }
        let made = Reconstructor::over(device, &config, &layout, &arenas).await?;
        Ok((made, Weights { layout, arenas }))
    }

    /// Compiles the branches of `config` over the arenas of others, which it reads where they stand: weights, and the
    /// momentum encoder's where there is a feature branch.
    pub async fn over(
        device: &Device,
        config: &ModelConfig,
        layout: &Layout,
        arenas: &Arenas,
    ) -> Result<Reconstructor> {
        let plan = {
            let graph = Graph::new();
            let teacher = config.feature_branch.then(|| Params::new(&graph, layout, TEACHER));
            let recorded = record(config, 1, &Params::new(&graph, layout, WEIGHTS), teacher.as_ref());
            let options = PlanOptions { tuning: Tuning::for_device(device), ..Default::default() };
            let mut fetch = vec![Fetch::new("pixels", recorded.pixels)];
            if let Some(branch) = &recorded.features {
                fetch.extend([Fetch::new("predicted", branch.predicted), Fetch::new("target", branch.target)]);
            }
            Plan::new(&graph, &fetch, &options)
        };
        let executor = Executor::new(device, plan, arenas).await?;
        for (name, table) in position_tables(config) {
            executor.write(device, name, bytemuck::cast_slice(&table));
        }
        Ok(Reconstructor { config: config.clone(), executor })
    }

    /// Reconstructs `image [channels, height, width]` from the visible patches of `order`.
    pub async fn run(&self, device: &Device, image: &[f32], order: &[u32]) -> Result<Reconstruction> {
        let begun = self.begin(device, image, order);
        self.finish(device, begun, image, order).await
    }

    /// Submits the reconstruction of an image with the weights as they now are.
    pub fn begin(&self, device: &Device, image: &[f32], order: &[u32]) -> Begun {
        self.executor.write(device, inputs::IMAGES, bytemuck::cast_slice(image));
        self.executor.write(device, inputs::ORDER, bytemuck::cast_slice(order));
        self.executor.run(device);
        let copy = |name| self.executor.copy(device, name);
        let features = self.config.feature_branch.then(|| ["predicted", "target"].map(copy));
        Begun { pixels: copy("pixels"), features }
    }

    /// Waits for what [`Reconstructor::begin`] submitted for this image.
    pub async fn finish(&self, device: &Device, begun: Begun, image: &[f32], order: &[u32]) -> Result<Reconstruction> {
        let predicted: Vec<f32> = bytemuck::pod_collect_to_vec(&begun.pixels.take(device).await?);
        let mut made = self.place(image, order, &predicted);
        if let Some([student, teacher]) = begun.features {
            let student = bytemuck::pod_collect_to_vec(&student.take(device).await?);
            let teacher = bytemuck::pod_collect_to_vec(&teacher.take(device).await?);
            made.features = Some(Features::new(student, teacher, self.config.width, self.config.layer_norm_eps));
        }
        Ok(made)
    }

    /// Puts predictions back into the image, with each true patch's own statistics.
    fn place(&self, image: &[f32], order: &[u32], predicted: &[f32]) -> Reconstruction {
        let config = &self.config;
        let (values, per_channel) = (config.patch_values(), config.patch_size * config.patch_size);
        let mut out = image.to_vec();
        let (mut target_error, mut pixel_error) = (0.0, 0.0);
        for (cell, row) in order[config.visible()..].iter().zip(predicted.chunks(values)) {
            let at: Vec<usize> = (0..values).map(|i| self.pixel(*cell as usize, i)).collect();
            let group = if config.pixel_target == PixelTarget::PatchChannel { per_channel } else { values };
            for (at, row) in at.chunks(group).zip(row.chunks(group)) {
                let truth: Vec<f64> = at.iter().map(|i| f64::from(image[*i])).collect();
                let (mean, deviation) = self.statistics(&truth);
                for ((at, truth), predicted) in at.iter().zip(&truth).zip(row) {
                    let pixel = f64::from(*predicted) * deviation + mean;
                    target_error += ((pixel - truth) / deviation).powi(2);
                    pixel_error += (pixel - truth).powi(2);
                    out[*at] = pixel as f32;
                }
            }
        }
        let count = predicted.len() as f64;
        let (target_error, pixel_error) = (target_error / count, pixel_error / count);
        Reconstruction { image: out, target_error, pixel_error, features: None }
    }

    /// Mean and deviation that the target was normalised with.
    fn statistics(&self, truth: &[f64]) -> (f64, f64) {
        let n = truth.len() as f64;
        let mean = truth.iter().sum::<f64>() / n;
        let square: f64 = truth.iter().map(|v| (v - mean).powi(2)).sum();
        match self.config.pixel_target {
            PixelTarget::PatchChannel => (mean, (square / n + f64::from(self.config.pixel_eps)).sqrt()),
            PixelTarget::Patch => (mean, (square / (n - 1.0) + f64::from(PixelTarget::MAE_EPS)).sqrt()),
            PixelTarget::Raw => (0.0, 1.0),
        }
    }

    /// Index into `[channels, height, width]` of value `i` of a patch.
    fn pixel(&self, cell: usize, i: usize) -> usize {
        let (p, width) = (self.config.patch_size, self.config.image_width);
        let columns = self.config.grid().1;
        let (channel, row, column) = (i / (p * p), i / p % p, i % p);
        (channel * self.config.image_height + cell / columns * p + row) * width + cell % columns * p + column
    }
}
