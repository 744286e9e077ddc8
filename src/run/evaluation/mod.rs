//! How good a network in training is, every so many steps: of a classifier its accuracy, of an encoder its nearest
//! neighbours. It reads the weights where they stand and changes nothing of the run.

mod classes;
mod neighbours;
mod views;

use std::time::Duration;

use web_time::Instant;

use crate::{
    data::Side,
    error::Result,
    tasks::Scalars,
    train::{Trainer, config::RunConfig},
};

use classes::Classes;
use neighbours::Neighbours;

/// What a run is evaluated on.
pub enum Evaluation {
    /// A classifier on these images.
    Validation(Side),
    /// An encoder by the neighbours of `test` in `train`, of these classes.
    Neighbours {
        /// The images to find neighbours among.
        train: Side,
        /// The images whose neighbours are found.
        test: Side,
        /// The classes by name.
        classes: Vec<String>,
    },
}

enum Method {
    Classes(Classes),
    Neighbours(Neighbours),
}

/// Evaluates a network every so many steps.
pub(super) struct Evaluator {
    method: Method,
    every: u64,
    /// Time that evaluating took so far, and since when.
    spent: Duration,
    began: Instant,
}

impl Evaluator {
    /// None where the run's settings say nothing of when.
    pub(super) fn new(config: &RunConfig, on: Evaluation) -> Option<Evaluator> {
        let (method, every) = match on {
            Evaluation::Validation(side) => {
                let every = config.finetune.as_ref()?.evaluate_every_steps?;
                (Method::Classes(Classes::new(config, side)), every)
            }
            Evaluation::Neighbours { train, test, classes } => {
                let every = config.evaluation.as_ref()?.every_steps;
                (Method::Neighbours(Neighbours::new(config, train, test, classes)), every)
            }
        };
        Some(Evaluator { method, every: every.max(1), spent: Duration::ZERO, began: Instant::now() })
    }

    /// The next step after `step` that is evaluated.
    pub(super) fn next(&self, step: u64) -> u64 {
        (step / self.every + 1) * self.every
    }

    /// Whether the network is evaluated after `step` of a run of `steps`.
    pub(super) fn is_due(&self, step: u64, steps: u64) -> bool {
        step == steps || step.is_multiple_of(self.every)
    }

    /// Gives up what it holds on a device that is gone.
    pub(super) fn forget_device(&mut self) {
        match &mut self.method {
            Method::Classes(classes) => classes.forget_device(),
            Method::Neighbours(neighbours) => neighbours.forget_device(),
        }
    }

    /// Accuracies by name, and the share of the time so far that evaluating took, `evaluation_share`.
    pub(super) async fn evaluate(&mut self, trainer: &Trainer) -> Result<Scalars> {
        let begins = Instant::now();
        let mut found = match &mut self.method {
            Method::Classes(classes) => classes.evaluate(trainer).await,
            Method::Neighbours(neighbours) => neighbours.evaluate(trainer).await,
        }?;
        self.spent += begins.elapsed();
        found.add("evaluation_share", self.spent.as_secs_f64() / self.began.elapsed().as_secs_f64());
        Ok(found)
    }
}
