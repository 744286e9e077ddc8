//! The bias of a fused q/k/v or k/v projection, whose keys have none.

use super::prelude::*;

/// `[query bias | zeros | value bias]` from inputs query and value, or `[zeros | value bias]` from the value alone; as many
/// zeros as the value bias is long.
#[derive(Debug)]
pub struct AttentionBias;

/// `len` values of a vector from `first`.
#[derive(Debug)]
pub struct SliceVector {
    /// First value taken.
    pub first: usize,
    /// Values taken.
    pub len: usize,
}

impl Op for AttentionBias {
    fn name(&self) -> &'static str {
        "attention_bias"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x.iter().all(|t| t.shape.len() == 1), "biases are vectors");
        Ok(vec![TensorType::f32(&[x.iter().map(TensorType::len).sum::<usize>() + x[x.len() - 1].len()])])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        let value = x[x.len() - 1].ty().len();
        let slice = |first, len| Some(dy.then(SliceVector { first, len }, &[]));
        let last = slice(dy.ty().len() - value, value);
        if x.len() == 1 { vec![last] } else { vec![slice(0, x[0].ty().len()), last] }
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let value = x[x.len() - 1];
        let mut data = if x.len() == 2 { x[0].data.clone() } else { Vec::new() };
        data.extend(vec![0.0; value.data.len()]);
        data.extend(&value.data);
        vec![Array::new(&[data.len()], data)]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let first = if x.len() == 2 { x[0].len() } else { 0 };
        let gap_end = y[0].len() - x[x.len() - 1].len();
        let params =
            kernels::attention_bias::Params { len: y[0].len() as u32, first: first as u32, gap_end: gap_end as u32 };
        let slots = [Slot::In(0), Slot::In(x.len() - 1), Slot::Out(0)];
        vec![dispatch(&kernels::attention_bias::FORWARD, params, &slots, groups(y[0].len()))]
    }
}

impl Op for SliceVector {
    fn name(&self) -> &'static str {
        "slice_vector"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0].shape.len() == 1 && self.first + self.len <= x[0].len(), "the slice leaves the vector");
        Ok(vec![TensorType::f32(&[self.len])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        vec![Array::new(&[self.len], x[0].data[self.first..][..self.len].to_vec())]
    }

    fn dispatch(&self, _: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let params = kernels::attention_bias::Params { len: self.len as u32, first: self.first as u32, gap_end: 0 };
        vec![dispatch(&kernels::attention_bias::SLICE, params, &[Slot::In(0), Slot::Out(0)], groups(self.len))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    vec![Sample::random(AttentionBias, &[&[70], &[70]]), Sample::random(AttentionBias, &[&[18]])]
}
