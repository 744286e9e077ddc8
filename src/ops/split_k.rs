//! Split-K: a weight gradient done as two operations, matmuls of parts of its sums and their sum. A pass records them, not
//! models.

use std::{any::Any, rc::Rc};

use super::{Matmul, column_sum, prelude::*};
use crate::kernels::{Form, Tile};

/// What the terms of a part are a multiple of: the depth of every tile in shared memory divides it, and the side of every
/// block of a matrix unit.
const PART_UNIT: usize = 64;

/// A weight gradient whose long sums are divided among workgroups, `[parts, m, n]`: few outputs alone would leave most of
/// a GPU idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct SplitKMatmul {
    /// The whole matmul.
    pub(super) matmul: Matmul,
    /// A tile that takes parts.
    pub(super) tile: Tile,
    /// Into how many parts the sums are to be divided.
    pub(super) parts: usize,
}

impl SplitKMatmul {
    /// Terms of a part, whole slabs of any tile.
    fn part(&self, k: usize) -> usize {
        k.div_ceil(self.parts).next_multiple_of(PART_UNIT)
    }
}

impl Op for SplitKMatmul {
    fn name(&self) -> &'static str {
        "matmul_tn_split_k"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let e = self.matmul.extents(x)?;
        Ok(vec![TensorType::f32(&[e.k.div_ceil(self.part(e.k)), e.m, e.n])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let rows = |a: &Array, range: std::ops::Range<usize>| {
            let data = range.clone().flat_map(|i| a.row(i).to_vec()).collect();
            Array::new(&[range.len(), a.cols()], data)
        };
        let (k, part) = (x[0].rows(), self.part(x[0].rows()));
        let parts = (0..k).step_by(part).map(|first| {
            let range = first..(first + part).min(k);
            self.matmul.eval(&[&rows(x[0], range.clone()), &rows(x[1], range)]).remove(0)
        });
        let data: Vec<f64> = parts.flat_map(|y| y.data).collect();
        vec![Array::new(&[k.div_ceil(part), x[0].cols(), x[1].cols()], data)]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        self.matmul.launch(x, y, None, Some((self.tile, self.part(x[0].rows()))), tuning)
    }

    fn flops(&self, x: &[TensorType], y: &[TensorType]) -> f64 {
        self.matmul.flops(x, y)
    }

    fn work(&self, x: &[TensorType]) -> Option<Work> {
        self.matmul.work(x)
    }
}

/// The two operations that do the work of `op`, where it is a weight gradient whose tile asks for it: the first reads its
/// inputs, the second the first one's output.
pub(crate) fn split_k(op: &dyn Op, x: &[TensorType], tuning: &Tuning) -> Option<[Rc<dyn Op>; 2]> {
    let matmul = *(op as &dyn Any).downcast_ref::<Matmul>().filter(|matmul| matmul.form == Form::Tn)?;
    let e = matmul.extents(x).expect("checked when recorded");
    let tile = tuning.matmul(matmul.form, [e.m, e.n, e.k], x[0].dtype);
    let parts = tile.parts([e.m, e.n, e.k], column_sum::CHUNK)?;
    Some([Rc::new(SplitKMatmul { matmul, tile, parts }), Rc::new(SplitKSum)])
}

/// The sum over the first axis of `[parts, m, n]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct SplitKSum;

impl Op for SplitKSum {
    fn name(&self) -> &'static str {
        "split_k_sum"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (parts, m, n) = x[0].batch_tokens_width()?;
        ensure_shape!(parts <= column_sum::CHUNK, "{parts} parts are more than one dispatch adds");
        Ok(vec![TensorType::f32(&[m, n])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let shape = &x[0].shape;
        let rows = Array::new(&[shape[0], shape[1] * shape[2]], x[0].data.clone());
        let mut sum = column_sum::ColumnSum { repeat: 1 }.eval(&[&rows]).remove(0);
        sum.shape = shape[1..].to_vec();
        vec![sum]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let (rows, sum) = (TensorType::f32(&[x[0].shape[0], y[0].len()]), TensorType::f32(&[1, y[0].len()]));
        column_sum::ColumnSum { repeat: 1 }.dispatch(&[rows], &[sum], tuning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_to_the_whole() {
        let whole = Matmul { form: Form::Tn };
        let inputs = Sample::random(whole, &[&[600, 12], &[600, 8]]).values(1);
        let x: Vec<_> = inputs.iter().collect();
        let types: Vec<_> = inputs.iter().map(|a| TensorType::f32(&a.shape)).collect();
        let [first, second] = split_k(&whole, &types, &Tuning::for_gpus()).expect("a long sum of few outputs");
        let parts = first.eval(&x).remove(0);
        assert_eq!(first.infer(&types).unwrap(), [TensorType::f32(&parts.shape)]);
        assert_eq!(parts.shape, [2, 12, 8]);
        let (sum, want) = (second.eval(&[&parts]).remove(0), whole.eval(&x).remove(0));
        assert_eq!(sum.shape, want.shape);
        assert!(sum.data.iter().zip(&want.data).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}
