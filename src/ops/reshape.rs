//! The same elements under another shape: a view, nothing runs.

use super::prelude::*;

/// `y = x` with the given extents.
#[derive(Debug)]
pub struct Reshape(pub Vec<usize>);

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let y = TensorType { shape: self.0.clone(), dtype: x[0].dtype };
        ensure_shape!(y.len() == x[0].len(), "{} has not as many elements as {y}", x[0]);
        Ok(vec![y])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(dy.reshape(&x[0].shape()))]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        vec![Array::new(&self.0, x[0].data.clone())]
    }

    fn dispatch(&self, _: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        Vec::new()
    }

    fn is_view(&self) -> bool {
        true
    }
}

impl<'g> Tensor<'g> {
    /// The same elements under another shape; nothing is copied.
    #[track_caller]
    pub fn reshape(self, shape: &[usize]) -> Tensor<'g> {
        if self.shape() == shape { self } else { self.then(Reshape(shape.to_vec()), &[]) }
    }
}

pub(super) fn samples() -> Vec<Sample> {
    vec![Sample::random(Reshape(vec![3, 10]), &[&[2, 5, 3]])]
}
