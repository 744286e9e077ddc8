//! What a classifier in training makes of images that it is not trained on.

use super::views::{BATCH, views};
use crate::{
    data::Side,
    error::{Error, Result},
    infer::{
        accuracy::Answer,
        predictor::{Network, Over, Predictor},
    },
    kernels::Tuning,
    tasks::Scalars,
    text::shown,
    train::{Trainer, WEIGHTS, config::RunConfig, snapshot::TEACHER},
};

/// Evaluates a classifier on images of known classes.
pub(super) struct Classes {
    config: RunConfig,
    side: Side,
    /// The weights' and their average's, compiled when they are first needed.
    predictors: Option<Vec<(&'static str, Predictor)>>,
}

/// Counts of what was told right, and the sum of losses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Score {
    images: usize,
    top1: usize,
    top5: usize,
    loss: f64,
}

impl Classes {
    pub(super) fn new(config: &RunConfig, side: Side) -> Classes {
        Classes { config: config.clone(), side, predictors: None }
    }

    /// Gives up what it holds on a device that is gone.
    pub(super) fn forget_device(&mut self) {
        self.predictors = None;
    }

    /// Top-1 and top-5 accuracy and the cross-entropy of the weights as they now are, and of their average where there is one.
    pub(super) async fn evaluate(&mut self, trainer: &Trainer) -> Result<Scalars> {
        let predictors = match self.predictors.take() {
            Some(made) => made,
            None => self.compile(trainer).await?,
        };
        let predictors = self.predictors.insert(predictors);
        let side = &self.side;
        let mut scores = vec![Score::default(); predictors.len()];
        for first in (0..side.source.len()).step_by(BATCH) {
            let (images, classes) = views(side, first, &self.config.model);
            for ((_, predictor), score) in predictors.iter().zip(&mut scores).filter(|_| !classes.is_empty()) {
                score.add(&predictor.run(trainer.device(), &images).await?, &classes);
            }
        }
        if scores[0].images == 0 {
            let place = side.source.place();
            return Err(Error::Images(format!("none of the images of {} can be read", shown(&place))));
        }
        let mut found = Scalars::default();
        for ((suffix, _), score) in predictors.iter().zip(&scores) {
            let share = |count: usize| count as f64 / score.images as f64;
            found.add(format!("validation_accuracy{suffix}"), share(score.top1));
            found.add(format!("validation_top5{suffix}"), share(score.top5));
            found.add(format!("validation_loss{suffix}"), score.loss / score.images as f64);
        }
        Ok(found)
    }

    async fn compile(&self, trainer: &Trainer) -> Result<Vec<(&'static str, Predictor)>> {
        let classifier = self.config.classifier.as_ref().expect("a run that fine-tunes has one");
        let average = trainer.task().average().map(|_| ("_average", TEACHER));
        let mut made = Vec::new();
        for (suffix, arena) in [("", WEIGHTS)].into_iter().chain(average) {
            let network = Network { model: &self.config.model, classifier };
            let over = Over { layout: trainer.layout(), arenas: trainer.arenas(), arena };
            let tuning = Tuning::for_device(trainer.device()).for_any_batch();
            made.push((suffix, Predictor::over(trainer.device(), network, over, BATCH, tuning).await?));
        }
        Ok(made)
    }
}

impl Score {
    /// Adds the logits of some images, `[images, classes]`, to their classes. Of equal logits the lower class comes first.
    fn add(&mut self, logits: &[f32], classes: &[u32]) {
        for (row, class) in logits.chunks(logits.len() / classes.len()).zip(classes) {
            let own = row[*class as usize];
            let rank = Answer::of(row.iter().map(|z| f64::from(*z)), *class).rank;
            let most = row.iter().fold(f32::NEG_INFINITY, |most, z| most.max(*z));
            let sum: f64 = row.iter().map(|z| f64::from(z - most).exp()).sum();
            self.images += 1;
            self.top1 += usize::from(rank == 0);
            self.top5 += usize::from(rank < 5);
            self.loss += sum.ln() - f64::from(own - most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_class() {
        let mut score = Score::default();
        score.add(&[1.0, 1.0, 0.0, 0.0, 2.0, 1.0], &[0, 1]);
        assert_eq!((score.images, score.top1, score.top5), (2, 2, 2));
        score.add(&[1.0, 1.0, 0.0], &[1]);
        let mut diverged = Score::default();
        diverged.add(&[f32::NAN; 12], &[0, 1]);
        assert_eq!((diverged.top1, diverged.top5), (0, 0), "what is not a number is not right");
        assert_eq!((score.images, score.top1, score.top5), (3, 2, 3));
        let want = [2.0 + (-1.0f64).exp(), 1.0 + (-2.0f64).exp() + (-1.0f64).exp(), 2.0 + (-1.0f64).exp()];
        assert!((score.loss - want.iter().map(|sum| sum.ln()).sum::<f64>()).abs() < 1e-6, "{score:?}");
    }
}
