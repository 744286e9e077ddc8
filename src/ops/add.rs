//! Elementwise sum of two tensors of one shape: residuals, and gradients where paths meet.

use super::prelude::*;

/// `y = a + b`.
#[derive(Debug)]
pub struct Add;

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0] == x[1], "both terms must have one shape");
        Ok(vec![x[0].clone()])
    }

    fn gradient<'g>(&self, _: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(dy), Some(dy)]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        vec![Array::new(&x[0].shape, x[0].data.iter().zip(&x[1].data).map(|(a, b)| a + b).collect())]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let params = kernels::add::Params { len: x[0].len() as u32 };
        let slots = [Slot::In(0), Slot::In(1), Slot::Out(0)];
        vec![dispatch(&kernels::add::FORWARD, params, &slots, groups(x[0].len()))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    vec![Sample::random(Add, &[&[3, 67], &[3, 67]]), Sample::random(Add, &[&[1], &[1]])]
}
