//! The weighted squared error over masked patches.

use super::{launch::grid, prelude::*};
use crate::kernels::LossVariant;

/// `loss [1] = mean over rows of weight * mean over columns of (x - target)^2`; inputs x, target and weight (one a row).
/// Over masked rows alone this is the published loss: the mean over all patches divided by the share that is masked.
#[derive(Debug, Clone, Copy)]
pub struct MaskedMse;

/// `dx` of [`MaskedMse`]; inputs x, target, weight and dloss.
#[derive(Debug, Clone, Copy)]
pub struct MaskedMseBackward;

/// [`MaskedMse`] and its gradient in one; inputs x, target, weight and dloss, outputs those of both. Recorded by a pass, not
/// by models: x and the target need not stay until the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct MaskedMseAndGradient;

fn params(x: &TensorType) -> kernels::masked_mse::Params {
    kernels::masked_mse::Params { rows: x.rows() as u32, cols: x.cols() as u32 }
}

impl Op for MaskedMse {
    fn name(&self) -> &'static str {
        "masked_mse"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0] == x[1], "prediction and target must have one shape");
        ensure_shape!(x[2].len() == x[0].rows(), "wants one weight a row, {} rows", x[0].rows());
        Ok(vec![TensorType::f32(&[1]), TensorType::f32(&[x[0].rows()])])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(x[0].then(MaskedMseBackward, &[x[1], x[2], dy])), None, None]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let (rows, cols) = (x[0].rows(), x[0].cols() as f64);
        let error = |i: usize| x[0].row(i).iter().zip(x[1].row(i)).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / cols;
        let per_row: Vec<f64> = (0..rows).map(|i| x[2].data[i] * error(i)).collect();
        let loss = per_row.iter().sum::<f64>() / rows as f64;
        vec![Array::new(&[1], vec![loss]), Array::new(&[rows], per_row)]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let slots = [Slot::In(0), Slot::In(1), Slot::In(2), Slot::Out(1)];
        vec![
            dispatch(&kernels::masked_mse::ROW_ERROR, params(&x[0]), &slots, groups(x[0].rows())),
            dispatch(&kernels::masked_mse::MEAN, params(&x[0]), &[Slot::Out(1), Slot::Out(0)], [1, 1, 1]),
        ]
    }
}

impl Op for MaskedMseBackward {
    fn name(&self) -> &'static str {
        "masked_mse_backward"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![x[0].clone()])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let (rows, cols) = (x[0].rows(), x[0].cols());
        let scale = 2.0 * x[3].data[0] / (rows * cols) as f64;
        let d = |i: usize| scale * x[2].data[i / cols] * (x[0].data[i] - x[1].data[i]);
        vec![Array::new(&x[0].shape, (0..rows * cols).map(d).collect())]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let slots = [Slot::In(0), Slot::In(1), Slot::In(2), Slot::In(3), Slot::Out(0)];
        vec![dispatch(&kernels::masked_mse::BACKWARD, params(&x[0]), &slots, groups(x[0].len()))]
    }
}

impl Op for MaskedMseAndGradient {
    fn name(&self) -> &'static str {
        "masked_mse+backward"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok([MaskedMse.infer(&x[..3])?, MaskedMseBackward.infer(x)?].concat())
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        [MaskedMse.eval(&x[..3]), MaskedMseBackward.eval(x)].concat()
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let slots = [Slot::In(0), Slot::In(1), Slot::In(2), Slot::In(3), Slot::Out(1), Slot::Out(2)];
        let (kernel, groups) = match tuning.masked_mse {
            LossVariant::SharedMemory => (&kernels::masked_mse::GROUP_GRADIENT, grid(x[0].rows())),
            LossVariant::Scalar => (&kernels::masked_mse::ROW_GRADIENT, groups(x[0].rows())),
        };
        vec![
            dispatch(kernel, params(&x[0]), &slots, groups),
            dispatch(&kernels::masked_mse::MEAN, params(&x[0]), &[Slot::Out(1), Slot::Out(0)], [1, 1, 1]),
        ]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let input = |shape: &[usize], content| (TensorType::f32(shape), content);
    let of = |shape: &[usize], rows: usize| {
        let x = input(shape, Content::Random);
        Sample::new(MaskedMse, vec![x, input(shape, Content::Fixed), input(&[rows], Content::Positive)])
    };
    let both = |shape: &[usize]| {
        let [x, target] = [0, 1].map(|_| input(shape, Content::Fixed));
        let (weight, dloss) = (input(&shape[..1], Content::Positive), input(&[1], Content::Positive));
        Sample::new(MaskedMseAndGradient, vec![x, target, weight, dloss])
    };
    vec![of(&[2, 19, 48], 38), of(&[131, 7], 131), both(&[131, 70])]
}
