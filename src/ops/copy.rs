//! A copy. Training has no use for it; `bench` measures with it what the adapter's memory gives.

use super::prelude::*;

/// `y = x`, of a multiple of four elements.
#[derive(Debug)]
pub struct Copy;

impl Op for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0].len().is_multiple_of(4), "{} elements are not a multiple of four", x[0].len());
        Ok(vec![x[0].clone()])
    }

    fn gradient<'g>(&self, _: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(dy)]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        vec![x[0].clone()]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let vec4s = x[0].len() / 4;
        let params = kernels::copy::Params { vec4s: vec4s as u32 };
        vec![dispatch(&kernels::copy::FORWARD, params, &[Slot::In(0), Slot::Out(0)], groups(vec4s))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    vec![Sample::random(Copy, &[&[5, 268]])]
}
