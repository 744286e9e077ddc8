//! Rounding to half precision. A pass records it, not models.

use super::{prelude::*, sample::to_half};

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
        vec![x[0].map(to_half)]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let params = kernels::cast::Params { len: x[0].len() as u32 };
        let slots = [Slot::In(0), Slot::Out(0)];
        vec![dispatch(&kernels::cast::TO_HALF, params, &slots, groups(x[0].len().div_ceil(4)))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    // Each list is compared as a whole, so that its numbers must be of one size. Copies move 4 bytes: all lists are even.
    let exact = |values: &[f64]| {
        let values: Vec<f64> = values.iter().map(|v| f64::from(*v as f32)).collect();
        Sample::new(Cast, vec![(TensorType::f32(&[values.len()]), Content::Exact(values))])
    };
    let unit = 2f64.powi(-24);
    vec![
        exact(&[65504.0, -65519.9, 65488.0, -65487.9]),
        exact(&[65520.0, -65536.0, 7e9, f64::NEG_INFINITY]),
        // Halfway between two halves, and a little beside it; the next halves after 1 are 2^-10 apart.
        exact(&[
            1.0 + 2f64.powi(-11),
            1.0 + 3.0 * 2f64.powi(-11),
            -1.0 - 2f64.powi(-11) - 1e-6,
            1.0 + 2f64.powi(-11) - 1e-6,
        ]),
        // The same among multiples of 2^-24, and where these meet the others.
        exact(&[0.5 * unit, 1.5 * unit, -2.5 * unit, 0.51 * unit, -3.4 * unit, 0.49 * unit]),
        exact(&[1022.5 * unit, -1023.5 * unit, 1023.4 * unit, 1024.0 * unit, -1024.5 * unit, 1025.6 * unit]),
        exact(&[1e-30, -1e-40, 0.0, -0.0]),
        Sample::new(Cast, vec![(TensorType::f32(&[5, 266]), Content::Fixed)]),
    ]
}
