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

/// Sums all rows of a matmul's first input in one go, to its second output.
pub(super) fn at_once(x: &TensorType) -> Dispatch {
    let sum = ColumnSum { repeat: 1 };
    sum.launch(x, x.cols(), x.rows(), &[Slot::In(0), Slot::Out(1)])
}

impl ColumnSum {
    fn takes_vec4s(&self, x: &TensorType) -> bool {
        self.repeat == 1 && x.cols().is_multiple_of(4)
    }

    /// Sums chunks of so many rows.
    fn launch(&self, x: &TensorType, cols: usize, chunk: usize, slots: &[Slot]) -> Dispatch {
        let params = kernels::column_sum::Params {
            rows: x.rows() as u32,
            cols: cols as u32,
            chunk: chunk as u32,
            repeat: self.repeat as u32,
        };
        let sums = x.rows().div_ceil(chunk) * cols;
        let (kernel, invocations) = match (self.takes_vec4s(x), x.dtype) {
            (true, DType::F16) => (&kernels::column_sum_vec4_f16::FORWARD, sums / 4),
            (true, _) => (&kernels::column_sum_vec4::FORWARD, sums / 4),
            (false, _) => (&kernels::column_sum::FORWARD, sums),
        };
        dispatch(kernel, params, slots, groups(invocations))
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

    fn reads_f16(&self, _: usize, x: &[TensorType], _: &Tuning) -> ReadsF16 {
        if self.takes_vec4s(&x[0]) { ReadsF16::Willing } else { ReadsF16::Never }
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        vec![self.launch(&x[0], y[0].cols(), CHUNK, &[Slot::In(0), Slot::Out(0)])]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let of =
        |repeat, shape: &[usize]| Sample::new(ColumnSum { repeat }, vec![(TensorType::f32(shape), Content::Fixed)]);
    let half = Sample::new(ColumnSum { repeat: 1 }, vec![(TensorType::f16(&[131, 72]), Content::Fixed)]);
    vec![of(1, &[131, 70]), of(1, &[131, 72]), of(16, &[2, 33, 48]), half]
}
