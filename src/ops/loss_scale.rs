//! The scale of the loss in half precision: gradients that would vanish or overflow there are multiplied by it on their
//! way, and divided by it in the update. It finds its own size, on the GPU, so that the host never waits for it.

use super::prelude::*;

/// Takes the scale out of the gradients' health and moves it for the next step; inputs health `[2]` and state `[2]`,
/// outputs the health of the gradients themselves with 1 / scale, `[3]`, and the state in place.
///
/// The rule and its numbers are those of dynamic loss scaling (Micikevicius et al., Mixed Precision Training, 2018) as
/// PyTorch's `GradScaler` has them. Unlike there, steps whose gradients overflowed count for AdamW's bias correction: the
/// host, which computes it, hears of them later.
#[derive(Debug, Clone, Copy)]
pub struct LossScale;

impl LossScale {
    /// Scale and good steps that training begins with.
    pub const START: [f32; 2] = [65536.0, 0.0];
    /// The smallest scale; gradients that are not finite even so are a fault of the training.
    pub const LEAST: f32 = 1.0;
    /// The largest scale.
    const MOST: f32 = 16_777_216.0;
    /// Good steps after which the scale doubles.
    const PATIENCE: f32 = 2000.0;
}

impl Op for LossScale {
    fn name(&self) -> &'static str {
        "loss_scale"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0].shape == [2] && x[1].shape == [2], "wants health and state");
        Ok(vec![TensorType::f32(&[3]), x[1].clone()])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let (square, bad, scale, good) = (x[0].data[0], x[0].data[1], x[1].data[0], x[1].data[1]);
        let [least, most, patience] = [LossScale::LEAST, LossScale::MOST, LossScale::PATIENCE].map(f64::from);
        let state = if bad > 0.0 {
            [(scale / 2.0).max(least), 0.0]
        } else if good + 1.0 >= patience {
            [(scale * 2.0).min(most), 0.0]
        } else {
            [scale, good + 1.0]
        };
        vec![Array::new(&[3], vec![square / scale / scale, bad, 1.0 / scale]), Array::new(&[2], state.to_vec())]
    }

    fn dispatch(&self, _: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let params = kernels::loss_scale::Params {
            least: LossScale::LEAST,
            most: LossScale::MOST,
            patience: LossScale::PATIENCE,
        };
        let slots = [Slot::In(0), Slot::Out(1), Slot::Out(0)];
        vec![dispatch(&kernels::loss_scale::FORWARD, params, &slots, [1, 1, 1])]
    }

    fn overwrites(&self) -> &[(usize, usize)] {
        &[(1, 1)]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let case = |bad: f64, scale: f64, good: f64| {
        let pair = |values: [f64; 2]| (TensorType::f32(&[2]), Content::Exact(values.to_vec()));
        Sample::new(LossScale, vec![pair([3e6, bad]), pair([scale, good])])
    };
    vec![
        case(0.0, 65536.0, 3.0),
        case(2.0, 65536.0, 3.0),
        case(1.0, 1.0, 0.0),
        case(0.0, 512.0, 1999.0),
        case(0.0, 16_777_216.0, 1999.0),
    ]
}
