//! Fine-tuning: a classifier on an encoder.

use std::sync::Arc;

use super::task::{Average, Inputs, MicroBatch, Objective, Scalar, Task};
use crate::{
    data::augment::Mixing,
    model::{ClassifierConfig, ModelConfig, classifier_inputs, classify, inputs},
    nn::{Param, Params},
    ops::{Accuracy, SoftCrossEntropy},
    rng::{Rng, Stream},
    shape::TensorType,
};

/// The fine-tuning step of BootMAE and MAE.
#[derive(Clone, Debug)]
pub struct Classify {
    /// The encoder.
    pub model: ModelConfig,
    /// What stands on it.
    pub classifier: ClassifierConfig,
    /// What a layer's learning rate is of the one above; 1 for all alike.
    pub layer_decay: f64,
    /// Whether the encoder stays as it is.
    pub frozen: bool,
    /// The share of a target that is spread over all classes.
    pub smoothing: f64,
    /// How images are mixed with each other.
    pub mixing: Mixing,
    /// Whether a moving average of the weights is kept.
    pub average: bool,
    /// What drop paths and mixing are drawn with.
    pub seed: u64,
    /// The class of each image of the collection.
    pub labels: Arc<[u32]>,
}

impl Classify {
    /// The task as far as it follows from the network, to plan and to measure: no image has a label.
    pub fn of(model: &ModelConfig, classifier: &ClassifierConfig) -> Classify {
        Classify {
            model: model.clone(),
            classifier: classifier.clone(),
            layer_decay: 1.0,
            frozen: false,
            smoothing: 0.0,
            mixing: Mixing::default(),
            average: true,
            seed: 0,
            labels: Arc::new([]),
        }
    }

    /// What the host writes for images `[batch, channels, height, width]`, soft targets `[batch, classes]` and factors of
    /// branches `[2 depth, batch]`, which are not looked at without a drop path.
    pub fn targeted<'b>(&self, images: &'b [f32], targets: &[f32], keep: &[f32]) -> Inputs<'b> {
        let inputs = Inputs::default().with(inputs::IMAGES, images).with_owned(classifier_inputs::TARGETS, targets);
        if self.classifier.drop_path > 0.0 { inputs.with_owned(classifier_inputs::KEEP, keep) } else { inputs }
    }

    /// Factors of branches `[2 depth, batch]`, each image's drawn from its epoch and number.
    fn keep(&self, samples: &[(u64, usize)]) -> Vec<f32> {
        if self.classifier.drop_path == 0.0 {
            return Vec::new();
        }
        let rates = self.classifier.drop_rates(self.model.depth);
        let mut keep = vec![0.0; 2 * rates.len() * samples.len()];
        for (image, (epoch, sample)) in samples.iter().enumerate() {
            let mut rng = Rng::new(self.seed, Stream::DropPath, *epoch, *sample as u64);
            for row in 0..2 * rates.len() {
                let kept = 1.0 - rates[row / 2];
                keep[row * samples.len() + image] = if rng.uniform() < kept { (1.0 / kept) as f32 } else { 0.0 };
            }
        }
        keep
    }
}

impl Task for Classify {
    fn parameters(&self) -> Vec<Param> {
        self.classifier.inventory(&self.model, self.layer_decay, self.frozen)
    }

    fn record<'g>(&self, batch: usize, params: &Params<'g>, _: Option<&Params<'g>>) -> Objective<'g> {
        let graph = params.graph();
        let classified = classify(&self.model, &self.classifier, batch, params, true);
        let shape = [batch, self.classifier.classes.len()];
        let targets = graph.input(classifier_inputs::TARGETS, TensorType::f32(&shape));
        let loss = graph.scope("loss", || classified.logits.then(SoftCrossEntropy, &[targets]));
        let accuracy = graph.scope("accuracy", || classified.logits.then(Accuracy, &[targets]));
        Objective {
            loss,
            scalars: vec![Scalar::new("train_accuracy", accuracy)],
            inspected: vec![("pooled", classified.pooled), ("logits", classified.logits)],
        }
    }

    fn average(&self) -> Option<Average> {
        self.average.then_some(Average { name: "teacher", drift: "average_drift", measured: |_| true })
    }

    fn constants(&self) -> Vec<(&'static str, Vec<f32>)> {
        let table = self.classifier.position_table(&self.model);
        vec![(inputs::POSITIONS, table[self.model.width..].to_vec())]
    }

    fn prepare(&self, step: u64, images: &mut [f32], shown: &[usize]) -> Vec<f32> {
        let labels: Vec<u32> = shown.iter().map(|image| self.labels[*image]).collect();
        let (side, classes) = ((self.model.image_height, self.model.image_width), self.classifier.classes.len());
        self.mixing.apply(images, side, &labels, classes, self.smoothing, self.seed, step)
    }

    fn inputs<'b>(&self, _: u64, batch: &MicroBatch<'b>) -> Inputs<'b> {
        self.targeted(batch.images, batch.prepared, &self.keep(batch.samples))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Classify {
        let classes = ["a", "b", "c", "d"].map(String::from).to_vec();
        let classifier = ClassifierConfig { classes, drop_path: 0.5, ..ClassifierConfig::default() };
        Classify { smoothing: 0.1, ..Classify::of(&ModelConfig::preset("nano").unwrap(), &classifier) }
    }

    #[test]
    fn targets_are_smoothed_and_mixed_as_the_images_are() {
        let task = Classify { labels: Arc::new([2, 0]), ..task() };
        let pixels = 3 * 32 * 32;
        let mut images = [vec![1.0; pixels], vec![0.0; pixels]].concat();
        let targets = task.prepare(5, &mut images, &[1, 0]);
        let share = images[..pixels].iter().sum::<f32>() / pixels as f32;
        // The first image is of class 0, its partner of class 2.
        let want = [0.025 + 0.9 * share, 0.025, 0.025 + 0.9 * (1.0 - share), 0.025];
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
        assert!(share > 0.0 && share < 1.0 && targets[..4].iter().zip(&want).all(near), "{share}: {targets:?}");
        let mixing = Mixing { probability: 0.0, ..Mixing::default() };
        let targets = Classify { mixing, ..task }.prepare(5, &mut images, &[1, 0]);
        assert_eq!(targets[4..], [0.025, 0.025, 0.925, 0.025]);
    }

    #[test]
    fn branches_are_dropped_as_often_as_said_and_each_image_by_itself() {
        let task = task();
        let samples: Vec<(u64, usize)> = (0..2000).map(|sample| (3, sample)).collect();
        let keep = task.keep(&samples);
        for (row, factors) in keep.chunks(samples.len()).enumerate() {
            let rate = task.classifier.drop_rates(6)[row / 2];
            let dropped = factors.iter().filter(|factor| **factor == 0.0).count() as f64 / 2000.0;
            assert!((dropped - rate).abs() < 0.04, "row {row}: {dropped} of {rate}");
            let kept = (1.0 / (1.0 - rate)) as f32;
            assert!(factors.iter().all(|factor| *factor == 0.0 || *factor == kept));
        }
        let some = task.keep(&samples[500..502]);
        assert!(some.chunks(2).zip(keep.chunks(2000)).all(|(some, all)| *some == all[500..502]), "whatever the batch");
    }
}
