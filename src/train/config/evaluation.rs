//! Settings of evaluation while an encoder is pretrained.

use serde::{Deserialize, Serialize};

use super::require;
use crate::error::Result;

/// How an encoder is evaluated while it is pretrained: by the nearest neighbours of labelled images. It changes no bit of
/// the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Steps between two evaluations, at least 1.
    pub every_steps: u64,
    /// Labelled images, as `data.source` names them; that itself without it.
    pub data: Option<String>,
    /// Which labels: a column of parquet files, `coarse` of CIFAR-100.
    pub label_column: Option<String>,
    /// Images to find neighbours among, at most.
    pub train_images: usize,
    /// Images whose neighbours are found, at most.
    pub test_images: usize,
}

impl Default for EvaluationConfig {
    fn default() -> EvaluationConfig {
        EvaluationConfig { every_steps: 500, data: None, label_column: None, train_images: 2000, test_images: 500 }
    }
}

impl EvaluationConfig {
    pub(super) fn check(&self) -> Result<()> {
        require(self.every_steps > 0 && self.train_images > 0 && self.test_images > 0, || {
            "every_steps, train_images and test_images of [evaluation] must be at least 1".into()
        })
    }
}
