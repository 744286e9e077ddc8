//! Rounding to half precision. A pass records it, not models.

use half::f16;

use super::prelude::*;

/// The nearest value in half precision, of two equally near ones the even; infinity beyond ±65504.
#[derive(Debug, Clone, Copy)]
pub struct Cast;

impl Op for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0].dtype == DType::F32, "only f32 is rounded");
        Ok(vec![TensorType { dtype: DType::F16, ..x[0].clone() }])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        vec![x[0].map(|v| f16::from_f32(v as f32).to_f64())]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let params = kernels::cast::Params { len: x[0].len() as u32 };
        let slots = [Slot::In(0), Slot::Out(0)];
        vec![dispatch(&kernels::cast::TO_HALF, params, &slots, groups(x[0].len().div_ceil(4)))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    // Ties, halves below 2^-14, the ends of the range; the rest as it comes. Copies move 4 bytes, so both are even.
    let near = [0.0, 1.0, -1.0, 1.0 + 4.8828125e-4, 1.0 + 14.6484375e-4, 65504.0, -65519.9, 6.1035156e-5, 5.9e-8];
    let small = [2.98e-8, 2.99e-8, -8.9e-8, 1.49e-7, 3.0e-5, -6.0976e-5, 1.0e-30, 0.1, -3.3333333, 1234.567, -0.7];
    let exact: Vec<f64> = near.into_iter().chain(small).map(|v: f64| f64::from(v as f32)).collect();
    vec![
        Sample::new(Cast, vec![(TensorType::f32(&[exact.len()]), Content::Exact(exact))]),
        Sample::new(
            Cast,
            vec![(TensorType::f32(&[4]), Content::Exact(vec![65520.0, -65536.0, 7e9, f64::NEG_INFINITY]))],
        ),
        Sample::new(Cast, vec![(TensorType::f32(&[5, 266]), Content::Fixed)]),
    ]
}
