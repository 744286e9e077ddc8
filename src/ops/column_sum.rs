//! Sums over rows, in chunks of a fixed size so that the order of additions never changes: the gradients of biases,
//! gains and tokens.

use super::prelude::*;

/// Rows that one invocation adds up.
pub(super) const CHUNK: usize = 64;

/// Sums chunks of rows of `[.., cols * repeat]`, and each run of `repeat` columns, to `[chunks, cols]`.
#[derive(Debug)]
pub struct ColumnSum {
    /// Columns that share one sum.
    pub repeat: usize,
}

/// The sum over all rows of x, `[cols]`.
pub fn columns(x: Tensor<'_>) -> Tensor<'_> {
    finish(x.then(ColumnSum { repeat: 1 }, &[]))
}

/// The sum over all rows and over each run of `repeat` columns, `[cols / repeat]`: over rows first, where there is most to
/// do at once.
pub fn columns_in_runs(x: Tensor<'_>, repeat: usize) -> Tensor<'_> {
    let sums = columns(x);
    if repeat == 1 { sums } else { finish(sums.reshape(&[1, sums.ty().cols()]).then(ColumnSum { repeat }, &[])) }
}

/// Adds up the rows of partial sums until one is left.
pub fn finish(mut partial: Tensor<'_>) -> Tensor<'_> {
    while partial.ty().rows() > 1 {
        partial = partial.then(ColumnSum { repeat: 1 }, &[]);
    }
    partial.reshape(&[partial.ty().cols()])
}

impl ColumnSum {
    fn takes_fours(&self, x: &TensorType) -> bool {
        self.repeat == 1 && x.cols().is_multiple_of(4)
    }
}

impl Op for ColumnSum {
    fn name(&self) -> &'static str {
        "column_sum"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0].cols().is_multiple_of(self.repeat), "columns must be whole runs of {}", self.repeat);
        Ok(vec![TensorType::f32(&[x[0].rows().div_ceil(CHUNK), x[0].cols() / self.repeat])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut y = Array::zeros(&[x[0].rows().div_ceil(CHUNK), x[0].cols() / self.repeat]);
        for i in 0..x[0].rows() {
            let sums = y.row_mut(i / CHUNK);
            x[0].row(i).iter().enumerate().for_each(|(c, v)| sums[c / self.repeat] += v);
        }
        vec![y]
    }

    fn halves(&self, _: usize, x: &[TensorType], _: &Tuning) -> Halves {
        if self.takes_fours(&x[0]) { Halves::Willing } else { Halves::Never }
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let params = kernels::column_sum::Params {
            rows: x[0].rows() as u32,
            cols: y[0].cols() as u32,
            chunk: CHUNK as u32,
            repeat: self.repeat as u32,
        };
        let (kernel, invocations) = match (self.takes_fours(&x[0]), x[0].dtype) {
            (true, DType::F16) => (&kernels::column_sum_fours_half::FORWARD, y[0].len() / 4),
            (true, _) => (&kernels::column_sum_fours::FORWARD, y[0].len() / 4),
            (false, _) => (&kernels::column_sum::FORWARD, y[0].len()),
        };
        vec![dispatch(kernel, params, &[Slot::In(0), Slot::Out(0)], groups(invocations))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let of =
        |repeat, shape: &[usize]| Sample::new(ColumnSum { repeat }, vec![(TensorType::f32(shape), Content::Fixed)]);
    let half = Sample::new(ColumnSum { repeat: 1 }, vec![(TensorType::f16(&[131, 72]), Content::Fixed)]);
    vec![of(1, &[131, 70]), of(1, &[131, 72]), of(16, &[2, 33, 48]), half]
}
