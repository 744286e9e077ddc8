//! A run of tokens of every image.

use super::{launch::Items, prelude::*};

/// Tokens `first .. first + count` of `[batch, tokens, width]`.
#[derive(Debug, Clone, Copy)]
pub struct SliceRows {
    /// First token taken.
    pub first: usize,
    /// Tokens taken.
    pub count: usize,
}

/// Puts a run of tokens at `first` among `tokens`, zeros elsewhere: the gradient of [`SliceRows`].
#[derive(Debug, Clone, Copy)]
pub struct PadRows {
    /// Where the run begins.
    pub first: usize,
    /// Tokens of the result.
    pub tokens: usize,
}

fn params(long: &TensorType, first: usize, count: usize, items: Items) -> kernels::slice_rows::Params {
    let (batch, tokens, width) = long.batch_tokens_width().expect("checked when recorded");
    kernels::slice_rows::Params {
        batch: batch as u32,
        tokens: tokens as u32,
        width: items.of(width) as u32,
        first: first as u32,
        count: count as u32,
    }
}

impl Op for SliceRows {
    fn name(&self) -> &'static str {
        "slice_rows"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (batch, tokens, width) = x[0].batch_tokens_width()?;
        ensure_shape!(self.first + self.count <= tokens, "{} + {} tokens are not in {tokens}", self.first, self.count);
        Ok(vec![TensorType::f32(&[batch, self.count, width])])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(dy.then(PadRows { first: self.first, tokens: x[0].shape()[1] }, &[]))]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut y = Array::zeros(&[x[0].shape[0], self.count, x[0].shape[2]]);
        for slot in 0..y.rows() {
            let row = slot / self.count * x[0].shape[1] + self.first + slot % self.count;
            y.row_mut(slot).copy_from_slice(x[0].row(row));
        }
        vec![y]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let items = Items::of_width(y[0].cols());
        let kernel = items.pick(&kernels::slice_rows::SLICE, &kernels::slice_rows_vec4::SLICE);
        let params = params(&x[0], self.first, self.count, items);
        vec![dispatch(kernel, params, &[Slot::In(0), Slot::Out(0)], groups(items.of(y[0].len())))]
    }
}

impl Op for PadRows {
    fn name(&self) -> &'static str {
        "pad_rows"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (batch, count, width) = x[0].batch_tokens_width()?;
        ensure_shape!(self.first + count <= self.tokens, "{} + {count} tokens are not in {}", self.first, self.tokens);
        Ok(vec![TensorType::f32(&[batch, self.tokens, width])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let count = x[0].shape[1];
        let mut y = Array::zeros(&[x[0].shape[0], self.tokens, x[0].shape[2]]);
        for slot in 0..x[0].rows() {
            let row = slot / count * self.tokens + self.first + slot % count;
            y.row_mut(row).copy_from_slice(x[0].row(slot));
        }
        vec![y]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let items = Items::of_width(y[0].cols());
        let kernel = items.pick(&kernels::slice_rows::PAD, &kernels::slice_rows_vec4::PAD);
        let params = params(&y[0], self.first, x[0].shape[1], items);
        vec![dispatch(kernel, params, &[Slot::In(0), Slot::Out(0)], groups(items.of(y[0].len())))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let op = |first, count| SliceRows { first, count };
    let of = |op, shape: &[usize]| Sample::random(op, &[shape]);
    vec![of(op(7, 19), &[3, 26, 20]), of(op(0, 1), &[2, 7, 12]), of(op(7, 19), &[3, 26, 21]), of(op(2, 4), &[2, 9, 21])]
}
