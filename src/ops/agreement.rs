//! When a kernel's results agree with the oracle's, or with another variant's.

use crate::{
    graph::Array,
    kernels::AttentionVariant,
    shape::{DType, TensorType},
};

/// The largest normalised mean square error, ‖got − want‖² / ‖want‖², that counts as agreement.
pub const TOLERANCE: f64 = 1e-10;

/// The same for what is stored in half precision: where the values before differ a little, some are rounded the other way,
/// each by 4.9e-4 of itself.
const HALF_TOLERANCE: f64 = 1e-8;

/// The same where attention's probabilities and their gradients are rounded to half precision for matrix units: each by up
/// to 4.9e-4 of itself.
const UNITS_TOLERANCE: f64 = 2.5e-7;

/// The largest error that counts as agreement in a result of this type, by which `attention` shares its rows where the result
/// is attention's.
pub fn tolerance(dtype: DType, attention: Option<AttentionVariant>) -> f64 {
    match (dtype, attention) {
        (DType::F16, Some(AttentionVariant::CooperativeMatrix { .. })) => UNITS_TOLERANCE,
        (DType::F16, _) => HALF_TOLERANCE,
        _ => TOLERANCE,
    }
}

/// The elements of an oracle's array as the GPU stores them.
pub fn bytes(ty: &TensorType, value: &Array) -> Vec<u8> {
    match ty.dtype {
        DType::F32 => value.data.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect(),
        DType::U32 => value.data.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
        DType::F16 => value.data.iter().flat_map(|v| half::f16::from_f64(*v).to_le_bytes()).collect(),
    }
}

/// ‖got − want‖² / ‖want‖², or ‖got‖² where nothing is wanted; NaN never passes a comparison. Infinities that are wanted must
/// be there, and count no further.
pub fn normalised_square_error(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len(), "as many values as wanted");
    let pairs = || got.iter().map(|g| f64::from(*g)).zip(want.iter().copied());
    if pairs().any(|(g, w)| w.is_infinite() && g != w) {
        return f64::INFINITY;
    }
    let (mut error, mut norm) = (0.0, 0.0);
    for (g, w) in pairs().filter(|(_, w)| !w.is_infinite()) {
        error += (g - w).powi(2);
        norm += w * w;
    }
    if norm == 0.0 { error } else { error / norm }
}
