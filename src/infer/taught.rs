//! A classifier taught on the features of an encoder that stays as it is, from a few images of each class: a linear layer behind
//! a LayerNorm without weights. Together with the encoder it is a checkpoint that `bootmae predict` reads.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    accuracy::Outcome,
    predictor::probabilities,
    probe::{Linear, Method, probe},
    sets::{Set, Sets},
};
use crate::{
    checkpoint::Model,
    error::{Error, Result},
    model::{ClassifierConfig, Pool, of_encoder},
    train::{
        config::{FinetuneConfig, RunConfig},
        snapshot::NamedTensor,
    },
};

/// The inverse strength of the penalty, scikit-learn's default. A few images leave nothing to choose it on.
const C: f64 = 1.0;

/// Parts that the images of each class are divided into: those of one are told by what is learnt from the others.
const FOLDS: usize = 5;

/// How well the images are told that a classifier has not seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unseen {
    /// The share of all images that is told right by a classifier learnt without their fold.
    pub top1: f64,
    /// The same of each class.
    pub classes: Vec<Option<f64>>,
    /// Images of each class (rows) by the class that they were taken for (columns).
    pub confusion: Vec<Vec<u32>>,
}

/// A classifier of features.
#[derive(Clone, Debug)]
pub struct Taught {
    classes: Vec<String>,
    /// Of features behind the LayerNorm.
    linear: Linear,
    width: usize,
    eps: f32,
}

impl Taught {
    /// Learns to tell `classes` apart from features `[images, width]`, the mean of an encoder's patch tokens, and finds out
    /// how well it tells images that were not learnt from, by five-fold cross-validation. Of a class images that follow each other are in one fold, since those that a
    /// camera takes one after the other are nearly the same. `eps` is the encoder's for layer norms.
    ///
    /// # Errors
    /// [`Error::Images`] where there are fewer than two classes, a class has fewer than two images, or a feature is not
    /// finite; [`Error::Config`] where there are more weights than are solved for.
    pub fn new(classes: Vec<String>, features: &Set, width: usize, eps: f32) -> Result<(Taught, Unseen)> {
        let fail = |reason: String| Err(Error::Images(reason));
        if classes.len() < 2 {
            return fail("a classifier tells at least 2 classes apart".into());
        }
        let mut counts = vec![0; classes.len()];
        features.classes.iter().for_each(|class| counts[*class as usize] += 1);
        if let Some(few) = counts.iter().position(|count| *count < 2) {
            return fail(format!("`{}` has fewer than 2 images", classes[few]));
        }
        if features.values.iter().any(|value| !value.is_finite()) {
            return fail("the features of some images are not finite".into());
        }
        let all = Set { values: normalised(&features.values, width, eps), classes: features.classes.clone() };
        let sets = |train: Set, test: Set| Sets { classes: classes.clone(), width, train, test, ..Sets::default() };
        let mut answers = BTreeMap::new();
        for fold in 0..FOLDS {
            let mut seen = vec![0; classes.len()];
            let (mut train, mut test) = (Vec::new(), Vec::new());
            for (image, class) in (0..).zip(&features.classes) {
                let (seen, count) = (&mut seen[*class as usize], counts[*class as usize]);
                // Of fewer images than folds each is one of its own.
                let side = if *seen * FOLDS.min(count) / count == fold { &mut test } else { &mut train };
                side.push(image);
                *seen += 1;
            }
            let fold = sets(all.some(width, &train), all.some(width, &test));
            answers.extend(test.into_iter().zip(probe(&fold, Method::Logistic, Some(C), 0, &mut |_| ())?.answers));
        }
        let answers: Vec<_> = answers.into_values().collect();
        let outcome = Outcome::new(&classes, &answers, &all.classes);
        let unseen = Unseen {
            top1: outcome.top1,
            classes: outcome.classes.iter().map(|class| class.top1).collect(),
            confusion: outcome.confusion(usize::MAX).unwrap_or_default(),
        };
        let linear = probe(&sets(all, Set::default()), Method::Logistic, Some(C), 0, &mut |_| ())?.classifier;
        Ok((Taught { classes, linear, width, eps }, unseen))
    }

    /// The classifier that stands on the encoder of `model` already, where it looks at the mean of the patch tokens as it is: one
    /// that was taught before, or fine-tuned. Weights and bias of its LayerNorm become part of the linear layer. A model with a
    /// moving average beside it has none here, since its answers are the average's.
    pub fn of(model: &Model) -> Option<Taught> {
        let (classifier, width) = (model.config.classifier.as_ref()?, model.config.model.width);
        let found = |name: &str| model.tensors.iter().find(|tensor| tensor.name == name).map(|tensor| &tensor.data);
        let [scale, shift] = [found("fc_norm.weight")?, found("fc_norm.bias")?];
        let [head, bias] = [found("head.weight")?, found("head.bias")?];
        let classes = classifier.classes.clone();
        if classifier.pool != Pool::Mean || model.teacher.is_some() || [scale.len(), shift.len()] != [width; 2] {
            return None;
        }
        if [head.len(), bias.len()] != [classes.len() * width, classes.len()] {
            return None;
        }
        let rows = head.chunks(width).map(|row| row.iter().map(|w| f64::from(*w)));
        let dot = |row: &mut dyn Iterator<Item = f64>| row.zip(shift).map(|(w, b)| w * f64::from(*b)).sum::<f64>();
        let bias = rows.clone().zip(bias).map(|(mut row, b)| f64::from(*b) + dot(&mut row)).collect();
        let weights = rows.flat_map(|row| row.zip(scale).map(|(w, s)| w * f64::from(*s))).collect();
        let eps = model.config.model.layer_norm_eps;
        Some(Taught { classes, linear: Linear { weights, bias }, width, eps })
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The probabilities of the classes, `[images, classes]`, for features `[images, width]`.
    pub fn probabilities(&self, features: &[f32]) -> Vec<f64> {
        let scores = self.linear.scores(&normalised(features, self.width, self.eps));
        scores.chunks(self.classes.len()).flat_map(probabilities).collect()
    }

    /// The encoder of `model` with this classifier on it, in place of what stands there.
    pub fn on(&self, model: Model) -> Model {
        let Model { step, config: trained, mut tensors, .. } = model;
        let table = (1 + trained.model.patches()) * trained.model.width;
        tensors.retain(|tensor| of_encoder(&tensor.name) || tensor.name == "pos_embed" && tensor.data.len() == table);
        let base = RunConfig::finetuning(trained.model);
        let before = trained.classifier.or(base.classifier.clone()).unwrap_or_default();
        let classifier = ClassifierConfig {
            classes: self.classes.clone(),
            pool: Pool::Mean,
            train_positions: tensors.iter().any(|tensor| tensor.name == "pos_embed"),
            drop_path: 0.0,
            ..before
        };
        let finetune = FinetuneConfig { freeze: true, average: false, ..base.finetune.clone().unwrap_or_default() };
        let mut add = |name: &str, shape: &[usize], data: Vec<f32>| {
            tensors.push(NamedTensor { name: name.into(), shape: shape.into(), data });
        };
        let (width, narrow) = (self.width, |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>());
        add("fc_norm.weight", &[width], vec![1.0; width]);
        add("fc_norm.bias", &[width], vec![0.0; width]);
        add("head.weight", &[self.classes.len(), width], narrow(&self.linear.weights));
        add("head.bias", &[self.classes.len()], narrow(&self.linear.bias));
        let config = RunConfig { classifier: Some(classifier), finetune: Some(finetune), ..base };
        Model { step, config, tensors, teacher: None }
    }
}

/// Rows with mean 0 and deviation 1, as a LayerNorm without weights makes them.
fn normalised(features: &[f32], width: usize, eps: f32) -> Vec<f32> {
    let rows = features.chunks(width).flat_map(|row| {
        let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / width as f64;
        let square = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / width as f64;
        let deviation = (square + f64::from(eps)).sqrt();
        row.iter().map(move |v| ((f64::from(*v) - mean) / deviation) as f32)
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::ModelConfig, nn::Param};

    /// Features of which the class decides which of four values is the largest.
    fn set(counts: &[usize]) -> Set {
        let classes: Vec<u32> = counts.iter().zip(0..).flat_map(|(count, class)| vec![class; *count]).collect();
        let row = |(n, class): (usize, &u32)| {
            let class = *class;
            (0..4).map(move |c| if c == class { 3.0 } else { ((n * 7919 + c as usize * 31) % 100) as f32 / 100.0 })
        };
        Set { values: classes.iter().enumerate().flat_map(row).collect(), classes }
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("class {n}")).collect()
    }

    #[test]
    fn images_that_were_not_learnt_from_are_told_too() {
        for counts in [[4, 4, 4], [9, 3, 30]] {
            let (taught, unseen) = Taught::new(names(3), &set(&counts), 4, 1e-6).unwrap();
            assert_eq!(unseen.top1, 1.0, "{unseen:?}");
            let sums: Vec<u32> = unseen.confusion.iter().map(|row| row.iter().sum()).collect();
            assert_eq!(sums, counts.map(|count| count as u32), "each image is asked for once");
            let told = taught.probabilities(&[0.1, 3.0, 0.2, 0.3, 5.0, 0.0, 0.0, 0.0]);
            assert!(told[1] > 0.6 && told[3] > 0.6 && (told.iter().sum::<f64>() - 2.0).abs() < 1e-9, "{told:?}");
        }
    }

    #[test]
    fn what_cannot_be_learnt_is_refused() {
        for (classes, counts, reason) in
            [(1, &[4][..], "at least 2 classes"), (2, &[4, 1], "`class 1` has fewer than 2")]
        {
            let error = Taught::new(names(classes), &set(counts), 4, 1e-6).unwrap_err();
            assert!(error.exit_code() == 3 && error.to_string().contains(reason), "{error}");
        }
        let mut broken = set(&[2, 2]);
        broken.values[3] = f32::NAN;
        assert!(Taught::new(names(2), &broken, 4, 1e-6).unwrap_err().to_string().contains("not finite"));
    }

    #[test]
    fn an_encoder_with_it_is_a_checkpoint_of_a_classifier() {
        for positions in [false, true] {
            let config = RunConfig::preset("nano").unwrap();
            let mut model = config.model.clone();
            (model.width, model.heads) = (4, 1);
            let tensor = |param: &Param| NamedTensor {
                name: param.name.clone(),
                shape: param.shape.clone(),
                data: vec![0.5; param.len()],
            };
            let mut tensors: Vec<NamedTensor> = crate::model::inventory(&model).iter().map(tensor).collect();
            if positions {
                tensors.push(tensor(&Param::new(
                    "pos_embed",
                    &[1, 1 + model.patches(), 4],
                    crate::nn::Init::Zero,
                    false,
                )));
            }
            let (taught, _) = Taught::new(names(3), &set(&[2, 2, 2]), 4, 1e-6).unwrap();
            let made = taught.on(Model { step: 7, config: RunConfig { model, ..config }, tensors, teacher: None });
            made.config.check().unwrap();
            let mut wanted: Vec<_> = made
                .config
                .planned_task()
                .parameters()
                .into_iter()
                .map(|p| (p.name.clone(), p.shape.clone()))
                .collect();
            let mut held: Vec<_> = made.tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
            wanted.sort();
            held.sort();
            assert_eq!(held, wanted);
            assert_eq!((made.step, &made.config.classifier.as_ref().unwrap().classes), (7, &names(3)));

            let again = Taught::of(&made).unwrap();
            assert_eq!(again.classes(), names(3));
            let feature = [0.3, -1.0, 2.0, 0.5];
            let [before, after] = [&taught, &again].map(|taught| taught.probabilities(&feature));
            assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-6), "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_layer_norm_with_weights_becomes_part_of_the_classifier() {
        let (width, eps) = (2, 1e-6);
        let mut config = RunConfig::finetuning(ModelConfig {
            width,
            layer_norm_eps: eps,
            ..RunConfig::preset("nano").unwrap().model
        });
        config.classifier =
            Some(ClassifierConfig { classes: names(2), pool: Pool::Mean, ..ClassifierConfig::default() });
        let tensor = |name: &str, shape: &[usize], data: &[f32]| NamedTensor {
            name: name.into(),
            shape: shape.into(),
            data: data.into(),
        };
        let tensors = vec![
            tensor("fc_norm.weight", &[2], &[2.0, 3.0]),
            tensor("fc_norm.bias", &[2], &[0.25, -0.5]),
            tensor("head.weight", &[2, 2], &[0.1, 0.2, -0.3, 0.4]),
            tensor("head.bias", &[2], &[0.05, -0.05]),
        ];
        let mut model = Model { step: 1, config, tensors, teacher: None };
        // Normalised, [3, 1] is [1, −1]; with weights and bias of the LayerNorm [2.25, −3.5].
        let logits = [0.1 * 2.25 + 0.2 * -3.5 + 0.05, -0.3 * 2.25 + 0.4 * -3.5 - 0.05];
        let told = Taught::of(&model).unwrap().probabilities(&[3.0, 1.0]);
        let wanted = probabilities(&logits);
        assert!(told.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{told:?} {wanted:?}");
        model.tensors.truncate(3);
        assert!(Taught::of(&model).is_none());
        assert!(Taught::of(&Model { config: RunConfig::preset("nano").unwrap(), ..model }).is_none());
    }

    #[test]
    fn probabilities_are_those_of_the_scores() {
        let model = ModelConfig::preset("nano").unwrap();
        let (taught, _) = Taught::new(names(2), &set(&[3, 3]), 4, model.layer_norm_eps).unwrap();
        let [a, b] = taught.probabilities(&[3.0, 0.0, 0.0, 0.0])[..] else { panic!("two classes") };
        let row = normalised(&[3.0, 0.0, 0.0, 0.0], 4, model.layer_norm_eps);
        let scores = taught.linear.scores(&row);
        assert!(((scores[0] - scores[1]).exp() - a / b).abs() < 1e-6 * a / b);
    }
}
