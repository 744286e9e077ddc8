//! Elementwise product: the feature loss times its weight.

use super::prelude::*;

/// `y = a b`.
#[derive(Debug)]
pub struct Multiply;

impl Op for Multiply {
    fn name(&self) -> &'static str {
        "multiply"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0] == x[1], "both factors must have one shape");
        Ok(vec![x[0].clone()])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(dy.then(Multiply, &[x[1]])), Some(dy.then(Multiply, &[x[0]]))]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        vec![Array::new(&x[0].shape, x[0].data.iter().zip(&x[1].data).map(|(a, b)| a * b).collect())]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let params = kernels::multiply::Params { len: x[0].len() as u32 };
        let slots = [Slot::In(0), Slot::In(1), Slot::Out(0)];
        vec![dispatch(&kernels::multiply::FORWARD, params, &slots, groups(x[0].len()))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    vec![Sample::random(Multiply, &[&[3, 67], &[3, 67]])]
}
