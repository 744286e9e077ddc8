//! Sums and products of two tensors of one shape: residuals, gradients where paths meet, a loss times its weight.

use std::ops::Add;

use super::prelude::*;

/// `y = a + b` or `y = a b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elementwise {
    /// The sum.
    Add,
    /// The product.
    Multiply,
}

impl Op for Elementwise {
    fn name(&self) -> &'static str {
        match self {
            Elementwise::Add => "add",
            Elementwise::Multiply => "multiply",
        }
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0] == x[1], "both must have one shape");
        Ok(vec![x[0].clone()])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        match self {
            Elementwise::Add => vec![Some(dy), Some(dy)],
            Elementwise::Multiply => {
                vec![Some(dy.then(Elementwise::Multiply, &[x[1]])), Some(dy.then(Elementwise::Multiply, &[x[0]]))]
            }
        }
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let pairs = x[0].data.iter().zip(&x[1].data);
        let data = match self {
            Elementwise::Add => pairs.map(|(a, b)| a + b).collect(),
            Elementwise::Multiply => pairs.map(|(a, b)| a * b).collect(),
        };
        vec![Array::new(&x[0].shape, data)]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let kernel = match self {
            Elementwise::Add => &kernels::elementwise::ADD,
            Elementwise::Multiply => &kernels::elementwise::MULTIPLY,
        };
        let params = kernels::elementwise::Params { len: x[0].len() as u32 };
        vec![dispatch(kernel, params, &[Slot::In(0), Slot::In(1), Slot::Out(0)], groups(x[0].len().div_ceil(4)))]
    }
}

impl<'g> Add for Tensor<'g> {
    type Output = Tensor<'g>;
    #[track_caller]
    fn add(self, other: Tensor<'g>) -> Tensor<'g> {
        self.then(Elementwise::Add, &[other])
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let of = |op| Sample::random(op, &[&[3, 67], &[3, 67]]);
    vec![of(Elementwise::Add), of(Elementwise::Multiply), Sample::random(Elementwise::Add, &[&[1], &[1]])]
}
