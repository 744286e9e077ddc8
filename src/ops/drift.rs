//! How far the momentum encoder's weights are from the student's.

use super::{column_sum, grid, prelude::*};

/// Values that one workgroup adds up.
const CHUNK: usize = 4096;

/// Sums of (teacher − student)² and of student² over chunks of a run of weights, `[chunks, 2]`; inputs teacher and
/// student.
#[derive(Debug, Clone, Copy)]
pub struct Drift;

/// The same sums over several runs together, `[2]`; a run is its teacher and its student.
pub fn drift<'g>(runs: &[(Tensor<'g>, Tensor<'g>)]) -> Tensor<'g> {
    let sums = runs.iter().map(|(teacher, student)| column_sum::finish(teacher.then(Drift, &[*student])));
    sums.reduce(|a, b| a + b).expect("at least one run")
}

impl Op for Drift {
    fn name(&self) -> &'static str {
        "drift"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let len = x[0].len();
        ensure_shape!(x.iter().all(|t| t.shape == [len]), "wants vectors of one length");
        Ok(vec![TensorType::f32(&[len.div_ceil(CHUNK), 2])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let chunks = x[0].data.chunks(CHUNK).zip(x[1].data.chunks(CHUNK));
        let sums = chunks.flat_map(|(teacher, student)| {
            let apart: f64 = teacher.iter().zip(student).map(|(t, s)| (t - s) * (t - s)).sum();
            [apart, student.iter().map(|s| s * s).sum()]
        });
        vec![Array::new(&[x[0].data.len().div_ceil(CHUNK), 2], sums.collect())]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let params = kernels::drift::Params { len: x[0].len() as u32, chunk: CHUNK as u32 };
        let slots = [Slot::In(0), Slot::In(1), Slot::Out(0)];
        vec![dispatch(&kernels::drift::FORWARD, params, &slots, grid(y[0].rows()))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    // One value; a chunk to the last value; one more, and less than a workgroup of the third.
    let sizes = [1, CHUNK, 2 * CHUNK + 1, 2 * CHUNK + 67];
    let vector = |n: usize| (TensorType::f32(&[n]), Content::Fixed);
    sizes.into_iter().map(|n| Sample::new(Drift, vec![vector(n), vector(n)])).collect()
}
