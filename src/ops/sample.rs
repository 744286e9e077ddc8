//! Inputs to try an operation on.

use std::rc::Rc;

use crate::{
    graph::{Array, Op},
    rng::{Rng, Stream},
    shape::{DType, TensorType},
};

/// What fills an input of a [`Sample`].
#[derive(Clone, Debug)]
pub enum Content {
    /// Uniform in [-1, 1), differentiated.
    Random,
    /// Uniform in [-1, 1), not differentiated.
    Fixed,
    /// Uniform in [0, 1), not differentiated (weights of a loss, second moments, …).
    Positive,
    /// These values, not differentiated.
    Exact(Vec<f64>),
    /// For each row of the last axis a random permutation of `0..cols`.
    Permutation,
}

/// An operation with inputs to try it on.
pub struct Sample {
    /// The operation.
    pub op: Rc<dyn Op>,
    /// Types and contents of its inputs.
    pub inputs: Vec<(TensorType, Content)>,
}

impl Sample {
    /// A sample of `op` on these inputs.
    pub fn new(op: impl Op, inputs: Vec<(TensorType, Content)>) -> Sample {
        Sample { op: Rc::new(op), inputs }
    }

    /// A sample whose inputs are all random f32 tensors of these shapes.
    pub fn random(op: impl Op, shapes: &[&[usize]]) -> Sample {
        Sample::new(op, shapes.iter().map(|s| (TensorType::f32(s), Content::Random)).collect())
    }

    /// The inputs' contents, the same at every call with the same seed.
    pub fn values(&self, seed: u64) -> Vec<Array> {
        let mut rng = Rng::new(seed, Stream::Init, 0, 0);
        let fill = |(ty, fill): &(TensorType, Content)| {
            let n = ty.len();
            let data: Vec<f64> = match fill {
                Content::Random | Content::Fixed => (0..n).map(|_| f64::from(rng.range(-1.0, 1.0) as f32)).collect(),
                Content::Positive => (0..n).map(|_| f64::from(rng.range(0.0, 1.0) as f32)).collect(),
                Content::Exact(values) => values.clone(),
                Content::Permutation => (0..ty.rows()).flat_map(|_| permutation(ty.cols(), &mut rng)).collect(),
            };
            match ty.dtype {
                DType::F16 => Array::new(&ty.shape, data).map(to_half),
                _ => Array::new(&ty.shape, data),
            }
        };
        self.inputs.iter().map(fill).collect()
    }
}

fn permutation(n: usize, rng: &mut Rng) -> Vec<f64> {
    let mut order: Vec<f64> = (0..n).map(|i| i as f64).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.below(i + 1));
    }
    order
}

/// The nearest value in half precision, of two equally near ones the even; infinity beyond ±65504.
pub(super) fn to_half(value: f64) -> f64 {
    half::f16::from_f32(value as f32).to_f64()
}
