//! What each image's values are multiplied by: drop path, which leaves a branch out for some images.

use std::{any::Any, rc::Rc};

use super::{Elementwise, launch::Items, prelude::*};
use crate::kernels::{scale_images, scale_images_vec4, scale_images_vec4_f16};

/// `y[b] = x[b] factors[row, b]`; inputs x `[batch, tokens, width]` and factors `[.., batch]`, which have no gradient.
#[derive(Debug, Clone, Copy)]
pub struct ScaleImages {
    row: usize,
    /// Whether one more input, of the shape of x, is added. Recorded by the fusion pass, not by models.
    adds: bool,
}

impl ScaleImages {
    /// Scales by this row of the factors.
    pub fn by_row(row: usize) -> ScaleImages {
        ScaleImages { row, adds: false }
    }
}

impl Op for ScaleImages {
    fn name(&self) -> &'static str {
        if self.adds { "scale_images+add" } else { "scale_images" }
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (batch, ..) = x[0].batch_tokens_width()?;
        let factors = &x[1];
        ensure_shape!(factors.cols() == batch, "wants a factor for each of {batch} images, not {factors}");
        ensure_shape!(self.row < factors.rows(), "{factors} has no row {}", self.row);
        ensure_shape!(!self.adds || x[2] == x[0], "adds what has the shape of x");
        Ok(vec![TensorType::f32(&x[0].shape)])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(dy.then(*self, &[x[1]])), None]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut y = x[0].clone();
        let stride = y.data.len() / y.shape[0];
        for (image, factor) in y.data.chunks_mut(stride).zip(x[1].row(self.row)) {
            image.iter_mut().for_each(|v| *v *= factor);
        }
        vec![if self.adds { Elementwise::Add.eval(&[&y, x[2]]).remove(0) } else { y }]
    }

    fn absorb(&self, next: &dyn Op, _: usize, only: bool, _: &Tuning) -> Option<Rc<dyn Op>> {
        let add = matches!((next as &dyn Any).downcast_ref::<Elementwise>(), Some(Elementwise::Add));
        (add && only && !self.adds).then(|| Rc::new(ScaleImages { adds: true, ..*self }) as Rc<dyn Op>)
    }

    fn stores_f16(&self, x: &[TensorType], _: &Tuning) -> usize {
        usize::from(x[0].cols().is_multiple_of(4))
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let items = Items::of_width(x[0].cols());
        let kernel = match y[0].dtype {
            DType::F16 => &scale_images_vec4_f16::FORWARD,
            _ => items.pick(&scale_images::FORWARD, &scale_images_vec4::FORWARD),
        };
        let batch = x[0].shape[0];
        let params = scale_images::Params {
            batch: batch as u32,
            stride: items.of(x[0].len() / batch) as u32,
            row: self.row as u32,
        };
        let slots = [Slot::In(0), Slot::In(1), Slot::In(if self.adds { 2 } else { 0 }), Slot::Out(0)];
        let constants = vec![Constant { name: "ADDS", value: self.adds.into() }];
        vec![Dispatch { constants, ..dispatch(kernel, params, &slots, groups(items.of(x[0].len()))) }]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let x = |shape: &[usize], content| (TensorType::f32(shape), content);
    let of = |row, shape: &[usize], factors: &[usize]| {
        let inputs = vec![x(shape, Content::Random), x(factors, Content::Positive)];
        Sample::new(ScaleImages::by_row(row), inputs)
    };
    let halves = vec![x(&[3, 19, 20], Content::Fixed), x(&[3], Content::Positive)];
    let added = |shape: &[usize]| {
        let inputs = vec![x(shape, Content::Fixed), x(&[2, 3], Content::Positive), x(shape, Content::Fixed)];
        Sample::new(ScaleImages { row: 1, adds: true }, inputs)
    };
    vec![
        of(3, &[3, 19, 20], &[2, 2, 3]),
        of(0, &[5, 1, 7], &[5]),
        Sample::halved(ScaleImages::by_row(0), 1, halves),
        added(&[3, 7, 20]),
        added(&[3, 7, 21]),
    ]
}
