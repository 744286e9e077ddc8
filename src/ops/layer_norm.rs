//! Layer normalisation over the last axis (Ba et al., 2016), with and without gain and bias.

use super::{column_sum, prelude::*};

/// `y = (x - mean) / sqrt(variance + eps) * gain + bias` over the last axis; inputs x, or x, gain and bias. The second
/// output holds mean and 1/deviation of each row, for the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: f32,
    /// Divide the sum of squares by `cols - 1` rather than `cols`.
    pub unbiased: bool,
}

/// `dx` of [`LayerNorm`]; inputs x, statistics, dy and the gain if there is one.
#[derive(Debug, Clone, Copy)]
pub struct LayerNormBackward(LayerNorm);

/// Sums of `dy * normalised x` over chunks of rows, `[chunks, cols]`; inputs x, statistics and dy.
#[derive(Debug, Clone, Copy)]
pub struct LayerNormGain;

impl LayerNorm {
    fn divisor(&self, cols: usize) -> f64 {
        (if self.unbiased { cols - 1 } else { cols }) as f64
    }

    fn params(&self, x: &TensorType) -> kernels::layer_norm::Params {
        kernels::layer_norm::Params {
            rows: x.rows() as u32,
            cols: x.cols() as u32,
            divisor: self.divisor(x.cols()) as f32,
            eps: self.eps,
            chunk: column_sum::CHUNK as u32,
        }
    }
}

fn affine(on: bool) -> Vec<Constant> {
    vec![Constant { name: "AFFINE", value: on.into() }]
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
        let backward = LayerNormBackward(*self);
        if x.len() == 1 {
            return vec![Some(x[0].then(backward, &[y[1], dy]))];
        }
        let dx = x[0].then(backward, &[y[1], dy, x[1]]);
        let gain = column_sum::finish(x[0].then(LayerNormGain, &[y[1], dy]));
        vec![Some(dx), Some(gain), Some(column_sum::columns(dy))]
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

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let (gain, bias) = if x.len() == 3 { (1, 2) } else { (0, 0) };
        let slots = [Slot::In(0), Slot::In(gain), Slot::In(bias), Slot::Out(0), Slot::Out(1)];
        let one = dispatch(&kernels::layer_norm::FORWARD, self.params(&x[0]), &slots, groups(x[0].rows()));
        vec![Dispatch { constants: affine(x.len() == 3), ..one }]
    }
}

impl Op for LayerNormBackward {
    fn name(&self) -> &'static str {
        "layer_norm_backward"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0] == x[2], "x and dy must have one shape");
        Ok(vec![x[0].clone()])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut dx = x[2].clone();
        let cols = x[0].cols() as f64;
        for i in 0..dx.rows() {
            let (mean, scale) = (x[1].row(i)[0], x[1].row(i)[1]);
            let n: Vec<f64> = x[0].row(i).iter().map(|v| (v - mean) * scale).collect();
            let row = dx.row_mut(i);
            if let Some(gain) = x.get(3) {
                row.iter_mut().zip(&gain.data).for_each(|(g, w)| *g *= w);
            }
            let sum = row.iter().sum::<f64>() / cols;
            let dot = row.iter().zip(&n).map(|(g, n)| g * n).sum::<f64>() / self.0.divisor(n.len());
            row.iter_mut().zip(&n).for_each(|(g, n)| *g = scale * (*g - sum - n * dot));
        }
        vec![dx]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let gain = if x.len() == 4 { 3 } else { 0 };
        let slots = [Slot::In(0), Slot::In(gain), Slot::In(1), Slot::In(2), Slot::Out(0)];
        let one = dispatch(&kernels::layer_norm::BACKWARD, self.0.params(&x[0]), &slots, groups(x[0].rows()));
        vec![Dispatch { constants: affine(x.len() == 4), ..one }]
    }
}

impl Op for LayerNormGain {
    fn name(&self) -> &'static str {
        "layer_norm_gain"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::f32(&[x[0].rows().div_ceil(column_sum::CHUNK), x[0].cols()])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut partial = Array::zeros(&[x[0].rows().div_ceil(column_sum::CHUNK), x[0].cols()]);
        for i in 0..x[0].rows() {
            let (mean, scale) = (x[1].row(i)[0], x[1].row(i)[1]);
            for (c, sum) in partial.row_mut(i / column_sum::CHUNK).iter_mut().enumerate() {
                *sum += x[2].row(i)[c] * (x[0].row(i)[c] - mean) * scale;
            }
        }
        vec![partial]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let params = LayerNorm { eps: 0.0, unbiased: false }.params(&x[0]);
        let slots = [Slot::In(0), Slot::In(1), Slot::In(2), Slot::Out(0)];
        vec![dispatch(&kernels::layer_norm::GAIN_GRADIENT, params, &slots, groups(y[0].len()))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let op = |eps, unbiased| LayerNorm { eps, unbiased };
    vec![
        Sample::random(op(1e-6, false), &[&[2, 35, 20], &[20], &[20]]),
        Sample::random(op(1e-5, false), &[&[67, 48]]),
        Sample::random(op(1e-6, true), &[&[3, 75]]),
    ]
}
