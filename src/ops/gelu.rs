//! The Gaussian error linear unit with the exact error function, x Φ(x) (Hendrycks and Gimpel, 2016).

use super::prelude::*;

/// `y = x Φ(x)`.
#[derive(Debug)]
pub struct Gelu;

/// `dx = dy (Φ(x) + x φ(x))`; inputs x and dy.
#[derive(Debug)]
pub struct GeluBackward;

/// As [`Gelu`], with the slope `Φ(x) + x φ(x)` as a second output: its backward pass is then a [`TimesSlope`], and x need not
/// be kept. Recorded by a pass, not by models.
#[derive(Debug)]
pub struct GeluAndSlope;

/// `dx = slope dy`; inputs slope and dy.
#[derive(Debug)]
pub struct TimesSlope;

/// Fours of values that one invocation takes.
const VEC4S: usize = 4;

fn cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

fn slope(x: f64) -> f64 {
    cdf(x) + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

fn times(a: &Array, b: impl Iterator<Item = f64>) -> Array {
    Array::new(&a.shape, a.data.iter().zip(b).map(|(a, b)| a * b).collect())
}

/// A dispatch of one of two kernels, the second if `x` is in half precision.
fn launch(x: &TensorType, [whole, half]: [&'static Kernel; 2], slots: &[Slot]) -> Vec<Dispatch> {
    let kernel = if x.dtype == DType::F16 { half } else { whole };
    let params = kernels::gelu::Params { len: x.len() as u32 };
    let constants = vec![Constant { name: "VEC4S", value: VEC4S as u32 }];
    vec![Dispatch { constants, ..dispatch(kernel, params, slots, groups(x.len().div_ceil(4 * VEC4S))) }]
}

impl Op for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::f32(&x[0].shape)])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(x[0].then(GeluBackward, &[dy]))]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        vec![x[0].map(|v| v * cdf(v))]
    }

    fn stores_f16(&self, _: &[TensorType], _: &Tuning) -> usize {
        1
    }

    fn reads_f16_with_outputs(&self, _: usize) -> bool {
        true
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        launch(&x[0], [&kernels::gelu::FORWARD, &kernels::gelu_f16::FORWARD], &[Slot::In(0), Slot::Out(0)])
    }
}

impl Op for GeluBackward {
    fn name(&self) -> &'static str {
        "gelu_backward"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0] == x[1], "x and dy must have one shape");
        Ok(vec![TensorType::f32(&x[0].shape)])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        vec![times(x[1], x[0].data.iter().map(|v| slope(*v)))]
    }

    fn stores_f16(&self, _: &[TensorType], _: &Tuning) -> usize {
        1
    }

    fn reads_f16_with_outputs(&self, _: usize) -> bool {
        true
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let kernels = [&kernels::gelu::BACKWARD, &kernels::gelu_f16::BACKWARD];
        launch(&x[0], kernels, &[Slot::In(0), Slot::In(1), Slot::Out(0)])
    }
}

impl Op for GeluAndSlope {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::f32(&x[0].shape); 2])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        vec![x[0].map(|v| v * cdf(v)), x[0].map(slope)]
    }

    fn stores_f16(&self, _: &[TensorType], _: &Tuning) -> usize {
        2
    }

    fn reads_f16_with_outputs(&self, _: usize) -> bool {
        true
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let kernels = [&kernels::gelu::FORWARD_SLOPE, &kernels::gelu_f16::FORWARD_SLOPE];
        launch(&x[0], kernels, &[Slot::In(0), Slot::Out(0), Slot::Out(1)])
    }
}

impl Op for TimesSlope {
    fn name(&self) -> &'static str {
        "gelu_backward"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        GeluBackward.infer(x)
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        vec![times(x[1], x[0].data.iter().copied())]
    }

    fn stores_f16(&self, _: &[TensorType], _: &Tuning) -> usize {
        1
    }

    fn reads_f16_with_outputs(&self, _: usize) -> bool {
        true
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let kernels = [&kernels::gelu::TIMES_SLOPE, &kernels::gelu_f16::TIMES_SLOPE];
        launch(&x[0], kernels, &[Slot::In(0), Slot::In(1), Slot::Out(0)])
    }
}

pub(super) fn samples() -> Vec<Sample> {
    // From the flat tail through the polynomials' seam to the linear side.
    let sweep: Vec<f64> = (0..1001).map(|i| f64::from(((i - 500) as f32) * 0.02)).collect();
    // Nearly as many as a workgroup takes, so that its last invocations go up to the end.
    let half = || (TensorType::f16(&[5, 190]), Content::Fixed);
    vec![
        Sample::random(Gelu, &[&[5, 85]]),
        Sample::new(Gelu, vec![(TensorType::f32(&[1001]), Content::Exact(sweep.clone()))]),
        Sample::new(GeluAndSlope, vec![(TensorType::f32(&[1001]), Content::Exact(sweep))]),
        Sample::new(TimesSlope, vec![(TensorType::f32(&[5, 85]), Content::Fixed); 2]),
        Sample::halved(Gelu, 1, vec![half()]),
        Sample::halved(GeluBackward, 1, vec![half(), half()]),
        Sample::halved(GeluAndSlope, 2, vec![half()]),
        Sample::halved(TimesSlope, 1, vec![half(), half()]),
    ]
}
