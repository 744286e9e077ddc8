//! The operations, one file each: shape rule, gradient, f64 oracle, dispatch and samples.
//!
//! Adding one takes a file here, a shader of the same name and a word in [`samples`]; CONTRIBUTING shows it step by step.

mod assemble_tokens;
mod attention;
mod attention_bias;
mod cast;
pub mod column_sum;
mod copy;
mod divided_product;
mod elementwise;
mod fill_masked;
mod gather_rows;
mod gelu;
mod halved;
mod layer_norm;
mod loss_scale;
mod masked_mse;
mod optimiser;
mod patchify;
mod product;
mod reshape;
mod rows;
pub mod self_test;
mod slice_rows;
mod tile;
mod tuning;
mod variant;
mod work;

pub use assemble_tokens::AssembleTokens;
pub use attention::{Attention, AttentionBackward};
pub use attention_bias::{AttentionBias, SliceVector};
pub use cast::Cast;
pub use column_sum::ColumnSum;
pub use copy::Copy;
pub use elementwise::Elementwise;
pub use fill_masked::{CollectMasked, FillMasked, InvertOrder};
pub use gather_rows::{GatherRows, ScatterRows};
pub use gelu::{Gelu, GeluAndSlope, GeluBackward, TimesSlope};
pub use halved::Halved;
pub use layer_norm::{LayerNorm, LayerNormBackward, NormRows};
pub use loss_scale::LossScale;
pub use masked_mse::{MaskedMse, MaskedMseAndGradient, MaskedMseBackward};
pub use optimiser::{Accumulate, AdamW, Ema, Settings, SquareSum, added, health};
pub use patchify::Patchify;
pub use product::{Epilogue, Form, FusedProduct, Product};
pub use reshape::Reshape;
pub use rows::Rows;
pub use slice_rows::{PadRows, SliceRows};
pub use tile::Tile;
pub use tuning::{Class, Size, Tuning, candidates, matrix_rows, matrix_tiles, norm_candidates, row_candidates};
pub use variant::Variant;
pub use work::Work;

use std::rc::Rc;

use crate::{
    graph::{Array, DType, Op, TensorType},
    kernels::Kernel,
};

/// Invocations in a workgroup of the kernels that give an element or a row to each.
pub(crate) const GROUP: usize = 64;

/// The most workgroups along x; a longer grid continues along y. 65,535 is WebGPU's limit.
const ROW_OF_GROUPS: usize = 32768;

/// Workgroups for `items` invocations in a line; the shaders find their index with `common/grid.wgsl`.
pub(crate) fn groups(items: usize) -> [u32; 3] {
    grid(items.div_ceil(GROUP))
}

/// So many workgroups in a line.
pub(crate) fn grid(groups: usize) -> [u32; 3] {
    let x = groups.clamp(1, ROW_OF_GROUPS);
    [x as u32, groups.div_ceil(x).max(1) as u32, 1]
}

/// What an invocation moves of rows of values: four values where rows are whole fours, else one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Items(usize);

impl Items {
    /// The items of rows of so many values.
    fn of_width(width: usize) -> Items {
        Items(if width.is_multiple_of(4) { 4 } else { 1 })
    }

    /// How many items so many values are.
    fn of(self, values: usize) -> usize {
        values / self.0
    }

    /// The kernel for these items.
    fn pick(self, one: &'static Kernel, fours: &'static Kernel) -> &'static Kernel {
        if self.0 == 4 { fours } else { one }
    }
}

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

    /// A sample of `op` with so many of its first outputs in half precision, on inputs that are if they are marked so.
    pub fn halved(op: impl Op, outputs: usize, inputs: Vec<(TensorType, Content)>) -> Sample {
        Sample::new(Halved::new(Rc::new(op), outputs), inputs)
    }

    /// A sample whose inputs are all random f32 tensors of these shapes.
    pub fn random(op: impl Op, shapes: &[&[usize]]) -> Sample {
        Sample::new(op, shapes.iter().map(|s| (TensorType::f32(s), Content::Random)).collect())
    }

    /// The inputs' contents, the same at every call with the same seed.
    pub fn values(&self, seed: u64) -> Vec<Array> {
        let mut rng = crate::rng::Rng::new(seed, crate::rng::Stream::Init, 0, 0);
        let fill = |(ty, fill): &(TensorType, Content)| {
            let n = ty.len();
            let data: Vec<f64> = match fill {
                Content::Random | Content::Fixed => (0..n).map(|_| f64::from(rng.range(-1.0, 1.0) as f32)).collect(),
                Content::Positive => (0..n).map(|_| f64::from(rng.range(0.0, 1.0) as f32)).collect(),
                Content::Exact(values) => values.clone(),
                Content::Permutation => (0..ty.rows()).flat_map(|_| permutation(ty.cols(), &mut rng)).collect(),
            };
            match ty.dtype {
                DType::F16 => Cast.eval(&[&Array::new(&ty.shape, data)]).remove(0),
                _ => Array::new(&ty.shape, data),
            }
        };
        self.inputs.iter().map(fill).collect()
    }
}

fn permutation(n: usize, rng: &mut crate::rng::Rng) -> Vec<f64> {
    let mut order: Vec<f64> = (0..n).map(|i| i as f64).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.below(i + 1));
    }
    order
}

/// Samples of every operation, at shapes that straddle the kernels' tiles. Tests and `bootmae doctor` check each
/// against the oracle, forward and gradient.
pub fn samples() -> Vec<Sample> {
    let lists = [
        assemble_tokens::samples(),
        attention::samples(),
        attention_bias::samples(),
        cast::samples(),
        column_sum::samples(),
        copy::samples(),
        elementwise::samples(),
        fill_masked::samples(),
        gather_rows::samples(),
        gelu::samples(),
        layer_norm::samples(),
        loss_scale::samples(),
        masked_mse::samples(),
        optimiser::samples(),
        patchify::samples(),
        product::samples(),
        reshape::samples(),
        slice_rows::samples(),
    ];
    lists.into_iter().flatten().collect()
}

/// Shorthands for the operations' own files.
pub(crate) mod prelude {
    pub(crate) use super::{Content, Sample, Tuning, Work, groups};
    pub(crate) use crate::{
        ensure_shape,
        graph::{Array, DType, Dispatch, Halves, Op, ShapeError, Slot, Tensor, TensorType},
        kernels::{self, Constant, Kernel},
    };

    /// A dispatch with every binding in the order of inputs and then outputs.
    pub(crate) fn dispatch(
        kernel: &'static Kernel,
        params: impl bytemuck::Pod,
        slots: &[Slot],
        groups: [u32; 3],
    ) -> Dispatch {
        let params = bytemuck::bytes_of(&params).to_vec();
        Dispatch { kernel, constants: Vec::new(), params, slots: slots.to_vec(), groups }
    }
}
