//! Pretraining: BootMAE on masked images.

use super::task::{Average, Inputs, MicroBatch, Objective, Scalar, Task};
use crate::{
    model::{ModelConfig, inputs, inventory, masking, of_decoder, position_tables, record},
    nn::{Param, Params},
    ops::column_sum,
    rng::{Rng, Stream},
};

/// BootMAE's pretraining step.
#[derive(Clone, Debug)]
pub struct Pretrain {
    /// The network.
    pub model: ModelConfig,
    /// What masks are drawn with.
    pub seed: u64,
    /// The weight of the feature loss, reached in a straight line over the first quarter of the run.
    pub feature_weight: f64,
    /// The length of the run.
    pub steps: u64,
}

/// Images with their masks, as the GPU takes them.
#[derive(Clone, Copy, Debug)]
pub struct Masked<'b> {
    /// Images `[batch, channels, height, width]`.
    pub images: &'b [f32],
    /// Patch indices `[batch, patches]`, visible ones first.
    pub order: &'b [u32],
    /// Loss weights `[batch, masked]`.
    pub loss_weights: &'b [f32],
    /// Weight of the feature loss.
    pub feature_weight: f32,
}

impl<'b> From<Masked<'b>> for Inputs<'b> {
    fn from(masked: Masked<'b>) -> Inputs<'b> {
        Inputs::default()
            .with(inputs::IMAGES, masked.images)
            .with(inputs::ORDER, masked.order)
            .with(inputs::WEIGHTS, masked.loss_weights)
            .with_owned(inputs::FEATURE_WEIGHT, &[masked.feature_weight])
    }
}

impl Pretrain {
    /// The task as far as it follows from the network, to plan and to measure: seed 0, the feature loss at weight 1.
    pub fn of(model: &ModelConfig) -> Pretrain {
        Pretrain { model: model.clone(), seed: 0, feature_weight: 1.0, steps: 1 }
    }

    /// Weight of the feature loss at `step`.
    pub fn feature_weight(&self, step: u64) -> f64 {
        let weight = self.feature_weight;
        (4.0 * weight * (1 + step) as f64 / self.steps as f64).min(weight)
    }
}

impl Task for Pretrain {
    fn parameters(&self) -> Vec<Param> {
        inventory(&self.model)
    }

    fn record<'g>(&self, batch: usize, params: &Params<'g>, average: Option<&Params<'g>>) -> Objective<'g> {
        let recorded = record(&self.model, batch, params, average);
        let mut scalars = vec![Scalar::new("loss_pixel", recorded.loss_pixel)];
        let mut inspected = vec![("pixels", recorded.pixels)];
        if let Some(branch) = recorded.features {
            let sums = params.graph().scope("teacher_spread", || column_sum::columns(branch.target));
            scalars.push(Scalar::new("loss_feature", branch.loss));
            scalars.push(Scalar::read("teacher_spread", sums, spread((batch * self.model.masked) as f64)));
            inspected.extend([("features", branch.predicted), ("feature_target", branch.target)]);
        }
        Objective { loss: recorded.loss, scalars, inspected }
    }

    fn average(&self) -> Option<Average> {
        let teacher = Average { name: "teacher", drift: "teacher_drift", measured: |name| !of_decoder(name) };
        self.model.feature_branch.then_some(teacher)
    }

    fn constants(&self) -> Vec<(&'static str, Vec<f32>)> {
        position_tables(&self.model).into()
    }

    fn inputs<'b>(&self, step: u64, batch: &MicroBatch<'b>) -> Inputs<'b> {
        let (model, seed) = (&self.model, self.seed);
        let roll = masking::roll(seed, step);
        let order = |(epoch, sample): &(u64, usize)| {
            masking::patch_order(model, &mut Rng::new(seed, Stream::Mask, *epoch, *sample as u64), roll)
        };
        let order: Vec<u32> = batch.samples.iter().flat_map(order).collect();
        let weights: Vec<f32> =
            order.chunks(model.patches()).flat_map(|row| masking::loss_weights(model, row)).collect();
        let mut inputs = Inputs::default()
            .with(inputs::IMAGES, batch.images)
            .with_owned(inputs::ORDER, &order)
            .with_owned(inputs::WEIGHTS, &weights);
        if model.feature_branch {
            let weight = self.feature_weight(step);
            inputs = inputs.with_owned(inputs::FEATURE_WEIGHT, &[weight as f32]).reporting("feature_weight", weight);
        }
        inputs
    }
}

/// How far `rows` normalised features are from one common vector, of the sums of their columns: 1 − ‖mean‖² / width;
/// towards 0 is collapse.
fn spread(rows: f64) -> impl Fn(&[f32]) -> f64 {
    move |sums| {
        let square: f64 = sums.iter().map(|v| (f64::from(*v) / rows).powi(2)).sum();
        1.0 - square / sums.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feature_weight_ramps_over_the_first_quarter() {
        let close = |got: f64, want: f64| assert!((got - want).abs() <= 1e-12, "{got} is not {want}");
        let task = Pretrain { steps: 801, ..Pretrain::of(&ModelConfig::preset("nano").unwrap()) };
        close(task.feature_weight(0), 4.0 / 801.0);
        close(task.feature_weight(199), 800.0 / 801.0);
        assert_eq!([200, 800].map(|step| task.feature_weight(step)), [1.0, 1.0]);
        let half = Pretrain { feature_weight: 0.5, steps: 400, ..task };
        close(half.feature_weight(49), 0.25);
        assert_eq!(half.feature_weight(300), 0.5);
    }

    #[test]
    fn features_that_are_all_alike_have_no_spread() {
        assert_eq!(spread(2.0)(&[2.0, -2.0]), 0.0);
        assert_eq!(spread(2.0)(&[0.0, 0.0]), 1.0);
    }
}
