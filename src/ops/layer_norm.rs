//! Layer normalisation over the last axis (Ba et al., 2016), with and without gain and bias.

use std::{any::Any, rc::Rc};

use super::{Elementwise, column_sum, launch::grid, prelude::*};
use crate::kernels::{
    LayerNormVariant, layer_norm_scalar as scalar, layer_norm_shared as shared, layer_norm_shared_f16 as shared_f16,
    layer_norm_subgroup_vec4 as subgroup, layer_norm_subgroup_vec4_f16 as subgroup_f16, layer_norm_vec4 as vec4,
    layer_norm_vec4_f16 as vec4_f16,
};

/// `y = (x - mean) / sqrt(variance + eps) * gain + bias` over the last axis; inputs x, or x, gain and bias. The second
/// output holds mean and 1/deviation of each row, for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: f32,
    /// Divide the sum of squares by `cols - 1` rather than `cols`.
    pub unbiased: bool,
}

/// `dx` of [`LayerNorm`]; inputs x, statistics, dy and the gain if there is one. With a gain two more outputs, both
/// `[chunks, cols]`: sums over chunks of rows of `dy * normalised x`, and of `dy`.
#[derive(Debug, Clone, Copy)]
pub struct LayerNormBackward {
    norm: LayerNorm,
    /// Whether `dx` is added to one more input, the last. Recorded by the fusion pass, not by models.
    adds: bool,
}

impl LayerNorm {
    fn divisor(&self, cols: usize) -> f64 {
        (if self.unbiased { cols - 1 } else { cols }) as f64
    }

    fn params(&self, x: &TensorType) -> scalar::Params {
        scalar::Params {
            rows: x.rows() as u32,
            cols: x.cols() as u32,
            divisor: self.divisor(x.cols()) as f32,
            eps: self.eps,
            chunk: column_sum::CHUNK as u32,
        }
    }

    /// A kernel over the rows of x.
    fn launch(
        &self,
        kernel: &'static Kernel,
        rows: LayerNormVariant,
        x: &TensorType,
        [affine, adds]: [bool; 2],
        slots: &[Slot],
    ) -> Dispatch {
        let switches = [("AFFINE", affine), ("ADDS", adds)];
        let mut constants = switches.map(|(name, on)| Constant { name, value: on.into() }).to_vec();
        let groups = match rows {
            LayerNormVariant::Scalar => groups(x.rows()),
            LayerNormVariant::Vec4 { group } => {
                constants.push(Constant { name: "GROUP", value: group });
                grid(x.rows().div_ceil(group as usize))
            }
            LayerNormVariant::SharedMemory { group } => {
                constants.push(Constant { name: "GROUP", value: group });
                grid(x.rows())
            }
            LayerNormVariant::SubgroupVec4 { lanes } => {
                let loads = x.cols().div_ceil(4 * lanes as usize) as u32;
                constants.extend([("LANES", lanes), ("LOADS", loads)].map(|(name, value)| Constant { name, value }));
                grid(x.rows().div_ceil(column_sum::CHUNK))
            }
        };
        Dispatch { constants, ..dispatch(kernel, self.params(x), slots, groups) }
    }
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let cols = x[0].cols();
        ensure_shape!(cols > usize::from(self.unbiased), "rows of {cols} have no variance");
        ensure_shape!(x.len() == 1 || x.len() == 3, "wants x, or x, gain and bias");
        ensure_shape!(x[1..].iter().all(|p| p.shape == [cols]), "gain and bias must be [{cols}]");
        Ok(vec![x[0].clone(), TensorType::f32(&[x[0].rows(), 2])])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], y: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        let backward = LayerNormBackward { norm: *self, adds: false };
        if x.len() == 1 {
            return vec![Some(x[0].then(backward, &[y[1], dy]))];
        }
        let d = dy.graph().apply(backward, &[x[0], y[1], dy, x[1]]);
        vec![Some(d[0]), Some(column_sum::finish(d[1])), Some(column_sum::finish(d[2]))]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let (mut y, mut stats) = (x[0].clone(), Array::zeros(&[x[0].rows(), 2]));
        let cols = x[0].cols() as f64;
        for i in 0..x[0].rows() {
            let row = y.row_mut(i);
            let mean = row.iter().sum::<f64>() / cols;
            let square: f64 = row.iter().map(|v| (v - mean).powi(2)).sum();
            let scale = 1.0 / (square / self.divisor(row.len()) + f64::from(self.eps)).sqrt();
            for (c, v) in row.iter_mut().enumerate() {
                *v = (*v - mean) * scale;
                if x.len() == 3 {
                    *v = *v * x[1].data[c] + x[2].data[c];
                }
            }
            stats.row_mut(i).copy_from_slice(&[mean, scale]);
        }
        vec![y, stats]
    }

    fn work(&self, x: &[TensorType]) -> Option<Work> {
        (x.len() == 3).then(|| Work::LayerNorm { input: x[0].clone() })
    }

    fn stores_f16(&self, x: &[TensorType], tuning: &Tuning) -> usize {
        usize::from(tuning.layer_norm.fitting(x[0].cols()) != LayerNormVariant::Scalar)
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let (gain, bias) = if x.len() == 3 { (1, 2) } else { (0, 0) };
        let slots = [Slot::In(0), Slot::In(gain), Slot::In(bias), Slot::Out(0), Slot::Out(1)];
        let rows = tuning.layer_norm.fitting(x[0].cols());
        let kernel = match (rows, y[0].dtype == DType::F16) {
            (LayerNormVariant::Scalar, _) => &scalar::FORWARD,
            (LayerNormVariant::Vec4 { .. }, false) => &vec4::FORWARD,
            (LayerNormVariant::Vec4 { .. }, true) => &vec4_f16::FORWARD,
            (LayerNormVariant::SharedMemory { .. }, false) => &shared::FORWARD,
            (LayerNormVariant::SharedMemory { .. }, true) => &shared_f16::FORWARD,
            (LayerNormVariant::SubgroupVec4 { .. }, false) => &subgroup::FORWARD,
            (LayerNormVariant::SubgroupVec4 { .. }, true) => &subgroup_f16::FORWARD,
        };
        vec![self.launch(kernel, rows, &x[0], [x.len() == 3, false], &slots)]
    }
}

impl LayerNormBackward {
    /// The inputs without what is added.
    fn own<'a, T>(&self, x: &'a [T]) -> &'a [T] {
        &x[..x.len() - usize::from(self.adds)]
    }
}

impl Op for LayerNormBackward {
    fn name(&self) -> &'static str {
        if self.adds { "layer_norm_backward+add" } else { "layer_norm_backward" }
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(!self.adds || x[x.len() - 1] == x[0], "adds to what has the shape of x");
        let x = self.own(x);
        ensure_shape!(x[0].shape == x[2].shape, "x and dy must have one shape");
        let sums = TensorType::f32(&[x[0].rows().div_ceil(column_sum::CHUNK), x[0].cols()]);
        Ok(if x.len() == 4 { vec![x[0].clone(), sums.clone(), sums] } else { vec![x[0].clone()] })
    }

    fn eval(&self, all: &[&Array]) -> Vec<Array> {
        let x = self.own(all);
        let mut dx = x[2].clone();
        let cols = x[0].cols() as f64;
        let mut to_gain = Array::zeros(&[x[0].rows().div_ceil(column_sum::CHUNK), x[0].cols()]);
        let mut to_bias = to_gain.clone();
        for i in 0..dx.rows() {
            let (mean, scale) = (x[1].row(i)[0], x[1].row(i)[1]);
            let n: Vec<f64> = x[0].row(i).iter().map(|v| (v - mean) * scale).collect();
            let row = dx.row_mut(i);
            for (c, slope) in row.iter().enumerate() {
                to_gain.row_mut(i / column_sum::CHUNK)[c] += slope * n[c];
                to_bias.row_mut(i / column_sum::CHUNK)[c] += slope;
            }
            if let Some(gain) = x.get(3) {
                row.iter_mut().zip(&gain.data).for_each(|(g, w)| *g *= w);
            }
            let sum = row.iter().sum::<f64>() / cols;
            let dot = row.iter().zip(&n).map(|(g, n)| g * n).sum::<f64>() / self.norm.divisor(n.len());
            row.iter_mut().zip(&n).for_each(|(g, n)| *g = scale * (*g - sum - n * dot));
        }
        if self.adds {
            dx = Elementwise::Add.eval(&[&dx, all[x.len()]]).remove(0);
        }
        if x.len() == 4 { vec![dx, to_gain, to_bias] } else { vec![dx] }
    }

    fn absorb(&self, next: &dyn Op, _: usize, only: bool, _: &Tuning) -> Option<Rc<dyn Op>> {
        let add = matches!((next as &dyn Any).downcast_ref::<Elementwise>(), Some(Elementwise::Add));
        (add && only && !self.adds).then(|| Rc::new(LayerNormBackward { adds: true, ..*self }) as Rc<dyn Op>)
    }

    fn reads_f16(&self, operand: usize, x: &[TensorType], tuning: &Tuning) -> ReadsF16 {
        let takes = match tuning.layer_norm.fitting(x[0].cols()) {
            LayerNormVariant::Scalar => false,
            LayerNormVariant::Vec4 { .. } | LayerNormVariant::SharedMemory { .. } => true,
            LayerNormVariant::SubgroupVec4 { .. } => self.own(x).len() == 4,
        };
        if operand == 2 && takes { ReadsF16::Willing } else { ReadsF16::Never }
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let half = x[2].dtype == DType::F16;
        let pick = |whole: &'static Kernel, other: &'static Kernel| if half { other } else { whole };
        let affine = self.own(x).len() == 4;
        let switches = [affine, self.adds];
        let residual = Slot::In(if self.adds { x.len() - 1 } else { 0 });
        let gain = Slot::In(if affine { 3 } else { 0 });
        let (x_in, saved, dy, dx, out) = (Slot::In(0), Slot::In(1), Slot::In(2), Slot::Out(0), Slot::Out);
        let slots = [x_in, gain, saved, dy, dx, residual];
        let (kernel, rows) = match tuning.layer_norm.fitting(x[0].cols()) {
            rows @ LayerNormVariant::SubgroupVec4 { .. } if affine => {
                let slots = [x_in, gain, saved, dy, out(1), out(2), dx, residual];
                let kernel = pick(&subgroup::BACKWARD_AFFINE, &subgroup_f16::BACKWARD_AFFINE);
                return vec![self.norm.launch(kernel, rows, &x[0], switches, &slots)];
            }
            rows @ LayerNormVariant::SharedMemory { .. } => (pick(&shared::BACKWARD, &shared_f16::BACKWARD), rows),
            rows @ LayerNormVariant::Vec4 { .. } => (pick(&vec4::BACKWARD, &vec4_f16::BACKWARD), rows),
            _ => (&scalar::BACKWARD, LayerNormVariant::Scalar),
        };
        let mut list = vec![self.norm.launch(kernel, rows, &x[0], switches, &slots)];
        if affine {
            let slots = [x_in, saved, dy, out(1), out(2)];
            let params = self.norm.params(&x[0]);
            list.push(match rows {
                LayerNormVariant::Vec4 { group } | LayerNormVariant::SharedMemory { group } => {
                    let constants = vec![Constant { name: "GROUP", value: group }];
                    let groups = grid(y[1].len().div_ceil(4 * group as usize));
                    let kernel = pick(&vec4::AFFINE_SUMS, &vec4_f16::AFFINE_SUMS);
                    Dispatch { constants, ..dispatch(kernel, params, &slots, groups) }
                }
                _ => dispatch(&scalar::AFFINE_SUMS, params, &slots, groups(y[1].len())),
            });
        }
        list
    }
}

/// A forward pass that stores halves.
fn halved(op: LayerNorm, shape: &[usize]) -> Sample {
    let whole = |shape: &[usize]| (TensorType::f32(shape), Content::Fixed);
    let cols = &shape[shape.len() - 1..];
    let affine = if shape.len() == 3 { vec![whole(cols), whole(cols)] } else { Vec::new() };
    Sample::halved(op, 1, [vec![whole(shape)], affine].concat())
}

/// A backward pass whose slope is in half precision.
fn slope_in_halves(op: LayerNorm, shape: &[usize]) -> Sample {
    let x = (TensorType::f32(shape), Content::Fixed);
    let values = Sample::new(op, vec![x.clone()]).values(1);
    let stats = op.eval(&[&values[0]]).remove(1);
    let exact = |array: &Array| (TensorType::f32(&array.shape), Content::Exact(array.data.clone()));
    let gain = (TensorType::f32(&shape[shape.len() - 1..]), Content::Fixed);
    let dy = (TensorType::f16(shape), Content::Fixed);
    Sample::new(LayerNormBackward { norm: op, adds: false }, vec![exact(&values[0]), exact(&stats), dy, gain])
}

/// A backward pass that adds its result to a value, with a gain or without.
fn adding(op: LayerNorm, shape: &[usize], affine: bool) -> Sample {
    let mut sample = slope_in_halves(op, shape);
    sample.op = Rc::new(LayerNormBackward { norm: op, adds: true });
    sample.inputs[2].0 = TensorType::f32(shape);
    sample.inputs.truncate(if affine { 4 } else { 3 });
    sample.inputs.push((TensorType::f32(shape), Content::Fixed));
    sample
}

pub(super) fn samples() -> Vec<Sample> {
    let op = |eps, unbiased| LayerNorm { eps, unbiased };
    vec![
        Sample::random(op(1e-6, false), &[&[2, 35, 20], &[20], &[20]]),
        Sample::random(op(1e-5, false), &[&[67, 48]]),
        Sample::random(op(1e-6, true), &[&[3, 75]]),
        Sample::random(op(1e-6, false), &[&[2, 67, 34], &[34], &[34]]),
        Sample::random(op(1e-6, false), &[&[65, 7], &[7], &[7]]),
        halved(op(1e-6, false), &[2, 67, 36]),
        halved(op(1e-6, false), &[67, 48]),
        slope_in_halves(op(1e-6, false), &[2, 67, 36]),
        adding(op(1e-6, false), &[2, 67, 36], true),
        adding(op(1e-6, false), &[65, 7], true),
        adding(op(1e-6, false), &[67, 36], false),
    ]
}
