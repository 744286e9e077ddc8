//! How well the features of an encoder in training tell classes apart: its nearest neighbours among a fixed part of labelled
//! images.

use super::views::{BATCH, views};
use crate::{
    data::Side,
    error::{Error, Result},
    infer::{
        accuracy::Outcome,
        encoder::{Embedder, FeatureOptions, Norm, Pool},
        neighbours::vote,
        sets::{Set, Sets},
    },
    lower::Precision,
    model::Whose,
    tasks::Scalars,
    text::shown,
    train::{Trainer, WEIGHTS, config::RunConfig, snapshot::TEACHER},
};

/// Neighbours that vote.
const K: usize = 20;

/// Evaluates student and teacher by their nearest neighbours.
pub(super) struct Neighbours {
    config: RunConfig,
    classes: Vec<String>,
    train: Side,
    test: Side,
    /// The student's and the teacher's encoder, compiled when they are first needed.
    encoders: Option<Vec<(&'static str, Embedder)>>,
}

impl Neighbours {
    pub(super) fn new(config: &RunConfig, train: Side, test: Side, classes: Vec<String>) -> Neighbours {
        Neighbours { config: config.clone(), classes, train, test, encoders: None }
    }

    /// Gives up what it holds on a device that is gone.
    pub(super) fn forget_device(&mut self) {
        self.encoders = None;
    }

    /// Top-1 accuracy of the student's features, and of the teacher's where there is one.
    pub(super) async fn evaluate(&mut self, trainer: &Trainer) -> Result<Scalars> {
        let encoders = match self.encoders.take() {
            Some(made) => made,
            None => self.compile(trainer).await?,
        };
        let encoders = self.encoders.insert(encoders);
        let mut sets = vec![
            Sets { classes: self.classes.clone(), width: self.config.model.width, ..Sets::default() };
            encoders.len()
        ];
        for (side, is_train) in [(&self.train, true), (&self.test, false)] {
            for first in (0..side.source.len()).step_by(BATCH) {
                let (images, classes) = views(side, first, &self.config.model);
                for ((_, encoder), sets) in encoders.iter().zip(&mut sets).filter(|_| !classes.is_empty()) {
                    let set: &mut Set = if is_train { &mut sets.train } else { &mut sets.test };
                    set.values.extend(encoder.run(trainer.device(), &images).await?);
                    set.classes.extend(&classes);
                }
            }
        }
        let mut found = Scalars::default();
        for ((name, _), sets) in encoders.iter().zip(&sets) {
            for (set, side) in [(&sets.train, &self.train), (&sets.test, &self.test)] {
                if set.is_empty() {
                    let place = side.source.place();
                    return Err(Error::Images(format!("none of the images of {} can be read", shown(&place))));
                }
            }
            let votes = &vote(sets, &[K])[0];
            found.add(*name, Outcome::new(&sets.classes, &votes.weighted, &sets.test.classes).top1);
        }
        Ok(found)
    }

    async fn compile(&self, trainer: &Trainer) -> Result<Vec<(&'static str, Embedder)>> {
        let (whose, pool, norm) = (Whose::Student, Pool::Mean, Norm::None);
        let options = FeatureOptions { whose, pool, norm, blocks: None, precision: Precision::F32 };
        let teacher = trainer.task().average().map(|_| ("knn_teacher", TEACHER));
        let mut made = Vec::new();
        for (name, arena) in [("knn_student", WEIGHTS)].into_iter().chain(teacher) {
            let over = (trainer.layout(), trainer.arenas(), arena);
            made.push((name, Embedder::over(trainer.device(), &self.config.model, over, options, BATCH).await?));
        }
        Ok(made)
    }
}
