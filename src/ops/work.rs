//! What a plan computes with kernels that have variants, and which of these are worth measuring for it.

use std::fmt;

use super::{
    Attention, Form, LayerNorm, Product, Rows, Tile, Variant, candidates, norm_candidates, row_candidates,
    tuning::{ATTENTION, Class, LAYER_NORM, gradient_tile},
};
use crate::{
    device::Device,
    graph::{DType, Op, TensorType},
};

/// Floating-point operations of layer normalisation per element, about: 7 forward, 15 backward.
const NORM_FLOPS: f64 = 22.0;

/// What a plan computes with a kernel that has variants.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A matrix product.
    Product {
        /// Its form.
        form: Form,
        /// `m`, `n` and `k`.
        shape: [usize; 3],
        /// The type of its operands.
        operands: DType,
    },
    /// Attention, forward and backward.
    Attention {
        /// The operation.
        op: Attention,
        /// Types of its inputs.
        inputs: Vec<TensorType>,
    },
    /// Layer normalisation with gain and bias, forward and backward.
    LayerNorm {
        /// The operation.
        op: LayerNorm,
        /// The type of its first input.
        input: TensorType,
    },
}

impl Work {
    /// Whether the other takes the same variant, whatever that is.
    pub fn is_like(&self, other: &Work) -> bool {
        match (self, other) {
            (
                Work::Product { form, shape, operands },
                Work::Product { form: other_form, shape: other, operands: other_operands },
            ) => Class::of(*form, *shape, *operands) == Class::of(*other_form, *other, *other_operands),
            (Work::Attention { inputs, .. }, Work::Attention { inputs: other, .. }) => {
                inputs[0].dtype == other[0].dtype
            }
            (Work::LayerNorm { .. }, Work::LayerNorm { .. }) => true,
            _ => false,
        }
    }

    /// The type of a product's operands.
    pub fn operands(&self) -> Option<DType> {
        match self {
            Work::Product { operands, .. } => Some(*operands),
            _ => None,
        }
    }

    /// Floating-point operations, with the backward pass in attention.
    pub fn flops(&self) -> f64 {
        match self {
            Work::Product { shape: [m, n, k], .. } => 2.0 * *m as f64 * *n as f64 * *k as f64,
            Work::Attention { op, inputs } => 3.0 * op.flops(inputs, &[]),
            Work::LayerNorm { input, .. } => NORM_FLOPS * input.len() as f64,
        }
    }

    /// The share of this product in what `variant` computes for it, see [`Tile::fill`]; none for others.
    pub fn fill(&self, variant: Variant) -> Option<f64> {
        match (self, variant) {
            (Work::Product { form, shape, operands }, Variant::Product(tile)) => {
                Some(tile.fitting(*form, *shape).of(*operands)).filter(|fitting| *fitting == tile)?;
                Some(tile.fill(*shape))
            }
            _ => None,
        }
    }

    /// The variants worth measuring on a device, the most promising first: time may run out.
    pub fn candidates(&self, device: &Device) -> Vec<Variant> {
        let mut variants: Vec<_> = match self {
            Work::Product { form, shape, operands } => {
                let fits = |tile: &Tile| match tile {
                    Tile::Fours { lanes, .. } if (*tile == gradient_tile(*lanes)) != (*form == Form::Tn) => false,
                    tile => tile.fitting(*form, *shape).of(*operands) == *tile,
                };
                candidates(device).into_iter().filter(fits).map(Variant::Product).collect()
            }
            Work::Attention { op, inputs } => {
                let dtype = inputs[0].dtype;
                let takes = |rows: &Rows| dtype == DType::F32 || rows.takes_halves(op.columns(inputs));
                row_candidates(device, dtype).into_iter().filter(takes).map(Variant::Attention).collect()
            }
            Work::LayerNorm { .. } => norm_candidates(device).into_iter().map(Variant::LayerNorm).collect(),
        };
        variants.reverse();
        variants
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Product { form, shape: [m, n, k], operands } => {
                let operands = if *operands == DType::F16 { " f16" } else { "" };
                write!(f, "{} {m}x{n}x{k}{operands}", Product { form: *form }.name())
            }
            Work::Attention { op, inputs } => {
                let shapes: Vec<_> = inputs
                    .iter()
                    .map(|ty| ty.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x"))
                    .collect();
                let name = ATTENTION[0];
                let values = if inputs[0].dtype == DType::F16 { " f16" } else { "" };
                write!(f, "{name} {} of {} heads{values}", shapes.join(" by "), op.heads)
            }
            Work::LayerNorm { input, .. } => write!(f, "{LAYER_NORM} {}x{}", input.rows(), input.cols()),
        }
    }
}
