//! What a step reports.

use crate::{ops::LossScale, tasks::Scalars};

/// What a step reports, per micro-batch averages over the update.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepResult {
    /// What is minimised.
    pub loss: f64,
    /// What the task reports beside it, and how far the moving average is from the weights after the update, where there
    /// is one.
    pub scalars: Scalars,
    /// The gradient's Euclidean norm over all parameters.
    pub gradient_norm: f64,
    /// Gradient values that were not finite.
    pub not_finite: u64,
    /// Whether no update was made: a gradient was not finite, or their norm above the limit.
    pub refused: bool,
    /// What the loss was multiplied by for the backward pass; none in f32.
    pub loss_scale: Option<f64>,
}

impl StepResult {
    /// Whether no update was made because gradients left half precision's range. The scale of the loss is lower from the
    /// next step on, so that training goes on as if the step had not been.
    pub fn is_overflow(&self) -> bool {
        let lower = self.loss_scale.is_some_and(|scale| scale > f64::from(LossScale::LEAST));
        lower && self.not_finite > 0 && self.loss.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_is_no_fault_as_long_as_the_scale_can_fall() {
        let overflow = |loss_scale, not_finite, loss| {
            StepResult { loss_scale, not_finite, loss, ..StepResult::default() }.is_overflow()
        };
        assert!(overflow(Some(2.0), 1, 1.0));
        assert!(!overflow(Some(1.0), 1, 1.0), "the smallest scale");
        assert!(!overflow(None, 1, 1.0), "f32 has none");
        assert!(!overflow(Some(2.0), 0, 1.0), "all gradients are finite");
        assert!(!overflow(Some(2.0), 1, f64::NAN), "the loss itself is at fault");
    }
}
