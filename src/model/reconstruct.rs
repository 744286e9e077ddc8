//! Masked reconstruction: what the network makes of the visible patches of an image.

use super::{Features, ModelConfig, config::PixelTarget, fill::smooth, inputs, inventory, position_tables, predict};
use crate::{
    device::{Device, Readback},
    error::Result,
    exec::{Arenas, Executor},
    graph::Graph,
    kernels::Tuning,
    lower::{Fetch, Plan, PlanOptions},
    nn::{Layout, Param, Params},
};

pub(crate) const WEIGHTS: &str = "weights";
pub(crate) const TEACHER: &str = "teacher";

/// Weights that stand alone on a device: the student's, and the momentum encoder's where there is a feature branch.
pub struct Weights {
    layout: Layout,
    arenas: Arenas,
    teacher: bool,
}

impl Weights {
    /// Room for the weights of `config`, zero until they are written.
    pub fn new(device: &Device, config: &ModelConfig) -> Result<Weights> {
        Weights::of(device, inventory(config), config.feature_branch)
    }

    /// Room for these parameters, and for their moving average where `teacher` says so, zero until they are written.
    pub fn of(device: &Device, params: Vec<Param>, teacher: bool) -> Result<Weights> {
        let layout = Layout::new(params, device.max_binding_bytes().min(128 << 20));
        let mut arenas = Arenas::default();
        for arena in [Some(WEIGHTS), teacher.then_some(TEACHER)].into_iter().flatten() {
            for (index, shard) in layout.shards.iter().enumerate() {
                arenas.add(device, arena, index, shard.len as u64 * 4)?;
            }
        }
        Ok(Weights { layout, arenas, teacher })
    }

    /// Whether there is room for the momentum encoder.
    pub fn has_teacher(&self) -> bool {
        self.teacher
    }

    /// The parameters.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where the values are.
    pub fn arenas(&self) -> &Arenas {
        &self.arenas
    }

    /// Writes one of the student's parameters.
    pub fn write(&self, device: &Device, name: &str, values: &[f32]) {
        self.write_into(device, WEIGHTS, name, values);
    }

    /// Writes one of the momentum encoder's parameters.
    pub fn write_teacher(&self, device: &Device, name: &str, values: &[f32]) {
        self.write_into(device, TEACHER, name, values);
    }

    fn write_into(&self, device: &Device, arena: &'static str, name: &str, values: &[f32]) {
        let place = self.layout.place(arena, name);
        self.arenas.write(device, arena, place.shard, place.offset, bytemuck::cast_slice(values));
    }
}

/// The student on a device, for one image at a time.
pub struct Reconstructor {
    config: ModelConfig,
    executor: Executor,
}

/// Where mean and contrast of a hidden patch are taken from: the network predicts pixels without them, unless its target
/// is raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// The hidden patch itself, as in the published pictures. This looks at the answer.
    Own,
    /// The visible patches, the nearer the more.
    Neighbours,
}

/// What the student made of the visible patches of an image.
pub struct Reconstruction {
    config: ModelConfig,
    image: Vec<f32>,
    order: Vec<u32>,
    predicted: Vec<f32>,
    /// Predicted features of the masked patches, `[masked, width]`, where there is a feature branch.
    features: Option<Vec<f32>>,
}

/// A reconstruction that is on its way.
pub struct Begun {
    pixels: Readback,
    features: Option<Readback>,
    image: Vec<f32>,
    order: Vec<u32>,
}

impl Reconstructor {
    /// Compiles the student of `config` over the arenas of others, which it reads where they stand.
    pub async fn over(
        device: &Device,
        config: &ModelConfig,
        layout: &Layout,
        arenas: &Arenas,
    ) -> Result<Reconstructor> {
        let plan = {
            let graph = Graph::new();
            let predicted = predict(config, 1, &Params::new(&graph, layout, WEIGHTS));
            let options = PlanOptions { tuning: Tuning::for_a_look(device), ..Default::default() };
            let mut fetch = vec![Fetch::new("pixels", predicted.pixels)];
            fetch.extend(predicted.features.map(|features| Fetch::new("features", features)));
            Plan::new(&graph, &fetch, &options)
        };
        let executor = Executor::new(device, plan, arenas).await?;
        for (name, table) in position_tables(config) {
            executor.write(device, name, bytemuck::cast_slice(&table));
        }
        Ok(Reconstructor { config: config.clone(), executor })
    }

    /// Takes other positions of the encoder's patches, `[patches, width]`, than those that are computed.
    pub fn set_positions(&self, device: &Device, table: &[f32]) {
        self.executor.write(device, inputs::POSITIONS, bytemuck::cast_slice(table));
    }

    /// Reconstructs `image [channels, height, width]` from the visible patches of `order`.
    pub async fn run(&self, device: &Device, image: &[f32], order: &[u32]) -> Result<Reconstruction> {
        self.finish(device, self.begin(device, image, order)).await
    }

    /// Submits the reconstruction of an image with the weights as they now are.
    pub fn begin(&self, device: &Device, image: &[f32], order: &[u32]) -> Begun {
        self.executor.write(device, inputs::IMAGES, bytemuck::cast_slice(image));
        self.executor.write(device, inputs::ORDER, bytemuck::cast_slice(order));
        self.executor.run(device);
        let copy = |name| self.executor.copy(device, name);
        let features = self.config.feature_branch.then(|| copy("features"));
        Begun { pixels: copy("pixels"), features, image: image.to_vec(), order: order.to_vec() }
    }

    /// Waits for what [`Reconstructor::begin`] submitted.
    pub async fn finish(&self, device: &Device, begun: Begun) -> Result<Reconstruction> {
        let predicted = bytemuck::pod_collect_to_vec(&begun.pixels.take(device).await?);
        let features = match begun.features {
            Some(features) => Some(bytemuck::pod_collect_to_vec(&features.take(device).await?)),
            None => None,
        };
        let Begun { image, order, .. } = begun;
        Ok(Reconstruction { config: self.config.clone(), image, order, predicted, features })
    }
}

impl Reconstruction {
    /// The network's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The image as it was, `[channels, height, width]`.
    pub fn original(&self) -> &[f32] {
        &self.image
    }

    /// The hidden patches, in the order of the predictions.
    pub fn hidden(&self) -> &[u32] {
        &self.order[self.config.visible()..]
    }

    /// The visible patches as they were, the others as predicted, `[channels, height, width]`, normalised like the
    /// input.
    pub fn image(&self, from: Statistics) -> Vec<f32> {
        let mut out = self.image.clone();
        self.each(from, |pixel| out[pixel.at] = pixel.predicted as f32);
        out
    }

    /// Mean squared error of the masked patches in the units of the target.
    pub fn target_error(&self) -> f64 {
        let mut sum = 0.0;
        self.each(Statistics::Own, |pixel| sum += ((pixel.predicted - pixel.truth) / pixel.deviation).powi(2));
        sum / self.predicted.len() as f64
    }

    /// The share of the hidden patches' own variance that the prediction explains, in the target's units: 1 is all of it,
    /// 0 is what the patches' means alone would give, less is worse. None where the target is raw pixels.
    pub fn explained(&self) -> Option<f64> {
        (self.config.pixel_target != PixelTarget::Raw).then(|| 1.0 - self.target_error())
    }

    /// Mean squared error of the masked patches' pixels, which span −1 to 1 however the input is normalised.
    pub fn pixel_error(&self, from: Statistics) -> f64 {
        let config = &self.config;
        let area = config.image_height * config.image_width;
        let unit = |channel| 2.0 * f64::from(config.normalise.of_channel(channel, config.channels).1);
        let units: Vec<f64> = (0..config.channels).map(unit).collect();
        let mut sum = 0.0;
        self.each(from, |pixel| sum += ((pixel.predicted - pixel.truth) * units[pixel.at / area]).powi(2));
        sum / self.predicted.len() as f64
    }

    /// Peak signal-to-noise ratio of the masked patches in decibels; pixels span −1 to 1.
    pub fn psnr(&self, from: Statistics) -> f64 {
        10.0 * (4.0 / self.pixel_error(from)).log10()
    }

    /// The visible patches as they were, the others filled in smoothly from them, `[channels, height, width]`: what a
    /// network that knows nothing could draw (see [`smooth`]).
    pub fn smooth(&self) -> Vec<f32> {
        let config = &self.config;
        let size = (config.image_height, config.image_width);
        let mut hidden = vec![false; size.0 * size.1];
        for cell in self.hidden() {
            (0..config.patch_size * config.patch_size).for_each(|i| hidden[self.pixel(*cell, i)] = true);
        }
        smooth(&self.image, size, &hidden)
    }

    /// Peak signal-to-noise ratio of the masked patches in decibels where they are as in `image`, as [`Reconstruction::image`]
    /// gives it.
    pub fn psnr_of(&self, image: &[f32]) -> f64 {
        let (config, values) = (&self.config, self.config.patch_values());
        let area = config.image_height * config.image_width;
        let unit = |at: usize| 2.0 * f64::from(config.normalise.of_channel(at / area, config.channels).1);
        let places = self.hidden().iter().flat_map(|cell| (0..values).map(|i| self.pixel(*cell, i)));
        let square = |at: usize| (f64::from(image[at] - self.image[at]) * unit(at)).powi(2);
        let error = places.map(square).sum::<f64>() / self.predicted.len() as f64;
        10.0 * (4.0 / error).log10()
    }

    /// The predicted features beside the momentum encoder's, `[patches, width]` in raster order, as
    /// [`Teacher`](super::Teacher) gives them; none without a feature branch.
    pub fn features(&self, teacher: Vec<f32>) -> Option<Features> {
        let student = self.features.clone()?;
        Some(Features::new(student, self.hidden().to_vec(), teacher, self.config.width, self.config.layer_norm_eps))
    }

    /// Hands on every predicted value with its place.
    fn each(&self, from: Statistics, mut on: impl FnMut(Pixel)) {
        let config = &self.config;
        let values = config.patch_values();
        let group = match config.pixel_target {
            PixelTarget::PatchChannel => config.patch_size * config.patch_size,
            _ => values,
        };
        let visible = &self.order[..config.visible()];
        for (cell, row) in self.hidden().iter().zip(self.predicted.chunks(values)) {
            for (number, predicted) in row.chunks(group).enumerate() {
                let (mean, deviation) = match from {
                    Statistics::Own => self.statistics(*cell, number * group, group),
                    Statistics::Neighbours => self.interpolated(*cell, visible, number * group, group),
                };
                for (i, value) in predicted.iter().enumerate() {
                    let at = self.pixel(*cell, number * group + i);
                    let (truth, predicted) = (f64::from(self.image[at]), f64::from(*value) * deviation + mean);
                    on(Pixel { at, truth, predicted, deviation });
                }
            }
        }
    }

    /// Mean and deviation that values `first` to `first + count` of a patch are normalised with.
    fn statistics(&self, cell: u32, first: usize, count: usize) -> (f64, f64) {
        let truth = || (first..first + count).map(|i| f64::from(self.image[self.pixel(cell, i)]));
        let n = count as f64;
        let mean = truth().sum::<f64>() / n;
        let square: f64 = truth().map(|v| (v - mean).powi(2)).sum();
        match self.config.pixel_target {
            PixelTarget::PatchChannel => (mean, (square / n + f64::from(self.config.pixel_eps)).sqrt()),
            PixelTarget::Patch => (mean, (square / (n - 1.0) + f64::from(PixelTarget::MAE_EPS)).sqrt()),
            PixelTarget::Raw => (0.0, 1.0),
        }
    }

    /// The visible patches' statistics, weighted by the inverse fourth power of their distance from `cell`.
    fn interpolated(&self, cell: u32, visible: &[u32], first: usize, count: usize) -> (f64, f64) {
        let columns = self.config.grid().1 as u32;
        let (mut mean, mut deviation, mut weights) = (0.0, 0.0, 0.0);
        for other in visible {
            let down = f64::from((cell / columns).abs_diff(other / columns));
            let across = f64::from((cell % columns).abs_diff(other % columns));
            let weight = (down * down + across * across).powi(-2);
            let (m, d) = self.statistics(*other, first, count);
            (mean, deviation, weights) = (mean + weight * m, deviation + weight * d, weights + weight);
        }
        (mean / weights, deviation / weights)
    }

    /// Index into `[channels, height, width]` of value `i` of a patch.
    fn pixel(&self, cell: u32, i: usize) -> usize {
        let (p, width, cell) = (self.config.patch_size, self.config.image_width, cell as usize);
        let columns = self.config.grid().1;
        let (channel, row, column) = (i / (p * p), i / p % p, i % p);
        (channel * self.config.image_height + cell / columns * p + row) * width + cell % columns * p + column
    }
}

/// A predicted value.
struct Pixel {
    /// Index into `[channels, height, width]`.
    at: usize,
    truth: f64,
    predicted: f64,
    /// The deviation that the prediction was scaled with.
    deviation: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reconstruction of an 8×8 image in four patches, the last two hidden, whose predictions are all `value`.
    fn reconstruction(pixel_target: PixelTarget, value: f32) -> Reconstruction {
        let config = ModelConfig { pixel_target, ..ModelConfig::preset("nano").unwrap().with_size(8, 8, 4) };
        let config = config.with_masked(2);
        let image: Vec<f32> = (0..192).map(|i| (i % 8) as f32 / 8.0 - (i / 64) as f32 * 0.25).collect();
        Reconstruction { config, image, order: vec![0, 1, 2, 3], predicted: vec![value; 96], features: None }
    }

    #[test]
    fn a_prediction_of_zero_shows_the_mean_it_was_given() {
        let made = reconstruction(PixelTarget::PatchChannel, 0.0);
        let own = made.image(Statistics::Own);
        // Rows of the lower patches: values 0 to 3 eighths, and 4 to 7.
        assert!((own[4 * 8] - 1.5 / 8.0).abs() < 1e-6 && (own[4 * 8 + 4] - 5.5 / 8.0).abs() < 1e-6, "{own:?}");
        assert_eq!(own[..32], made.original()[..32], "visible patches stay");
        assert!(made.explained().unwrap().abs() < 1e-2, "a mean explains no variance: {:?}", made.explained());
        assert_eq!(reconstruction(PixelTarget::Raw, 0.0).explained(), None);
        assert!((made.psnr_of(&own) - made.psnr(Statistics::Own)).abs() < 1e-4);
        // Columns are ramps, so that smoothing goes on with them.
        assert!(made.psnr_of(&made.smooth()) > 20.0, "{}", made.psnr_of(&made.smooth()));
        // Patch 2 lies below patch 0, at a distance of 1, and at 2^½ from patch 1: weights of 1 and 1/4.
        let near = made.image(Statistics::Neighbours);
        assert!((near[4 * 8] - (1.5 + 5.5 / 4.0) / 8.0 / 1.25).abs() < 1e-6, "{near:?}");
        assert!(made.psnr(Statistics::Own) > made.psnr(Statistics::Neighbours));
    }

    #[test]
    fn raw_predictions_are_the_pixels() {
        let made = reconstruction(PixelTarget::Raw, 0.125);
        for from in [Statistics::Own, Statistics::Neighbours] {
            assert!(made.image(from)[64 + 32..128].iter().all(|v| *v == 0.125));
        }
    }
}
