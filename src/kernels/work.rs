//! What a plan computes with kernels that have variants.

use std::fmt;

use super::{
    class::Class,
    variants::{Form, Variant},
};
use crate::shape::{DType, TensorType};

/// Floating-point operations of layer normalisation per element, about: 7 forward, 15 backward.
const NORM_FLOPS: f64 = 22.0;

/// What a plan computes with a kernel that has variants.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A matmul.
    Matmul {
        /// Its form.
        form: Form,
        /// `m`, `n` and `k`.
        shape: [usize; 3],
        /// The type of its operands.
        operands: DType,
    },
    /// Attention, forward and backward.
    Attention {
        /// Number of heads.
        heads: usize,
        /// Self-attention only: first row that asks.
        first_query: usize,
        /// Types of its inputs.
        inputs: Vec<TensorType>,
    },
    /// Layer normalisation with gain and bias, forward and backward.
    LayerNorm {
        /// The type of its first input.
        input: TensorType,
    },
}

impl Work {
    /// Whether the other takes the same variant, whatever that is.
    pub fn is_like(&self, other: &Work) -> bool {
        match (self, other) {
            (
                Work::Matmul { form, shape, operands },
                Work::Matmul { form: other_form, shape: other, operands: other_operands },
            ) => Class::of(*form, *shape, *operands) == Class::of(*other_form, *other, *other_operands),
            (Work::Attention { inputs, .. }, Work::Attention { inputs: other, .. }) => {
                inputs[0].dtype == other[0].dtype
            }
            (Work::LayerNorm { .. }, Work::LayerNorm { .. }) => true,
            _ => false,
        }
    }

    /// The type of a matmul's operands.
    pub fn operands(&self) -> Option<DType> {
        match self {
            Work::Matmul { operands, .. } => Some(*operands),
            _ => None,
        }
    }

    /// Floating-point operations, with the backward pass in attention.
    pub fn flops(&self) -> f64 {
        match self {
            Work::Matmul { shape: [m, n, k], .. } => 2.0 * *m as f64 * *n as f64 * *k as f64,
            Work::Attention { first_query, inputs, .. } => {
                let (queries, keys) = (&inputs[0], &inputs[inputs.len() - 1]);
                let asked = queries.shape[0] * (queries.shape[1] - first_query);
                3.0 * 4.0 * asked as f64 * keys.shape[1] as f64 * inner(inputs) as f64
            }
            Work::LayerNorm { input } => NORM_FLOPS * input.len() as f64,
        }
    }

    /// The share of this matmul in what `variant` computes for it, see `Tile::fill`; none for others.
    pub fn fill(&self, variant: Variant) -> Option<f64> {
        match (self, variant) {
            (Work::Matmul { form, shape, operands }, Variant::Matmul(tile)) => {
                Some(tile.fitting(*form, *shape).of(*operands)).filter(|fitting| *fitting == tile)?;
                Some(tile.fill(*shape))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Matmul { form, shape: [m, n, k], operands } => {
                let operands = if *operands == DType::F16 { " f16" } else { "" };
                write!(f, "{} {m}x{n}x{k}{operands}", form.name())
            }
            Work::Attention { heads, inputs, .. } => {
                let shapes: Vec<_> = inputs
                    .iter()
                    .map(|ty| ty.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x"))
                    .collect();
                let values = if inputs[0].dtype == DType::F16 { " f16" } else { "" };
                write!(f, "attention {} of {heads} heads{values}", shapes.join(" by "))
            }
            Work::LayerNorm { input } => write!(f, "layer_norm {}x{}", input.rows(), input.cols()),
        }
    }
}

/// Columns of all heads together, given the types of attention's inputs.
pub(crate) fn inner(inputs: &[TensorType]) -> usize {
    if inputs.len() == 1 { inputs[0].cols() / 3 } else { inputs[0].cols() }
}
