//! How far results are from what a fixture wants, by groups of tensors.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
use crate::formats::tensors::TensorFile;

/// The worst error of a group of tensors, and whether it is within the group's bar.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// The worst error, relative unless the group says otherwise; NaN never passes.
    pub worst: f64,
    /// The tensor with the worst error.
    pub tensor: String,
    /// The largest error that passes.
    pub bar: f64,
    /// Whether the worst error is within the bar.
    pub pass: bool,
}

/// What a verification found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The adapter it ran on, or the processor.
    pub adapter: String,
    /// The fixture's.
    pub kind: String,
    /// Whether every group passed.
    pub pass: bool,
    /// The groups by name.
    pub groups: BTreeMap<String, Group>,
}

/// The largest errors that pass.
pub(super) struct Bars {
    /// Relative, of a step's losses.
    pub(super) loss: f64,
    /// Relative, of predictions and targets.
    pub(super) output: f64,
    /// Relative, of a tensor's gradient and of a trajectory's gradient norms.
    pub(super) gradient: f64,
    /// Of an updated weight in units of the learning rate, where the gradient exceeds 1e-6 and `adamw_share`.
    pub(super) adamw: f64,
    /// A part of the gradient's root mean square in its tensor: AdamW's first update keeps of a gradient only the sign,
    /// which rounding may turn where it is small.
    pub(super) adamw_share: f64,
    /// Of an updated weight in units of the learning rate where its gradient is smaller than that, if they count.
    pub(super) adamw_elsewhere: Option<f64>,
    /// Relative, of a teacher's tensor.
    pub(super) ema: f64,
    /// Relative, of a trajectory's losses.
    pub(super) trajectory_loss: f64,
    /// Of final weights relative to their change.
    pub(super) last: f64,
}

pub(super) const F32_BARS: Bars = Bars {
    loss: 2e-6,
    output: 2e-5,
    gradient: 5e-5,
    adamw: 1e-3,
    adamw_share: 0.0,
    adamw_elsewhere: None,
    ema: 1e-6,
    trajectory_loss: 2e-5,
    last: 1e-3,
};

/// Three to five times what the fixtures showed on llvmpipe and SwiftShader; half precision keeps 11 bits, 4.9e-4.
pub(super) const F16_BARS: Bars = Bars {
    loss: 5e-4,
    output: 3e-3,
    gradient: 1e-2,
    adamw: 1e-3,
    adamw_share: 0.1,
    adamw_elsewhere: None,
    ema: 3e-5,
    trajectory_loss: 1e-3,
    last: 2e-2,
};

/// Fixtures of MAE and of fine-tuning are judged by every weight, also where gradients are small.
pub(super) const CLASSIFY_F32_BARS: Bars = Bars { adamw_share: 1e-3, adamw_elsewhere: Some(5e-2), ..F32_BARS };

/// What was compared so far.
#[derive(Default)]
pub(super) struct Groups(BTreeMap<String, Group>);

impl Groups {
    pub(super) fn note(&mut self, group: &str, bar: f64, tensor: &str, error: f64) {
        let entry = self.0.entry(group.into());
        let group = entry.or_insert_with(|| Group { worst: 0.0, tensor: tensor.into(), bar, pass: true });
        if error.is_nan() || error > group.worst {
            (group.worst, group.tensor) = (error, tensor.into());
        }
        group.pass = group.worst <= bar;
    }

    /// Whether nothing was compared.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn report(self, adapter: &str, kind: &str) -> Report {
        Report { adapter: adapter.into(), kind: kind.into(), pass: self.0.values().all(|g| g.pass), groups: self.0 }
    }
}

pub(super) fn norm(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

pub(super) fn difference(got: &[f32], want: &[f32]) -> f64 {
    got.iter().zip(want).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

/// ‖got − want‖ / ‖want‖, or ‖got − want‖ where nothing is wanted; NaN where lengths differ.
pub(super) fn relative(got: &[f32], want: &[f32]) -> f64 {
    if got.len() != want.len() {
        return f64::NAN;
    }
    let norm = norm(want);
    if norm == 0.0 { difference(got, want) } else { difference(got, want) / norm }
}

/// What is wrong with a fixture.
pub(super) fn bad(reason: String) -> Error {
    Error::checkpoint("fixture", reason)
}

pub(super) fn first(values: &[f64]) -> Result<f64> {
    values.first().copied().ok_or_else(|| bad("a loss is empty".into()))
}

/// Numbers below `most`.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn integers(file: &TensorFile, name: &str, most: usize) -> Result<Vec<u32>, String> {
    let values = file.i64(name)?.1.iter();
    let inside = |value: &i64| u32::try_from(*value).ok().filter(|value| (*value as usize) < most);
    let found: Option<Vec<u32>> = values.map(inside).collect();
    found.ok_or_else(|| format!("{name} holds a number outside 0 to {}", most - 1))
}

#[cfg(not(target_arch = "wasm32"))]
impl Groups {
    /// Notes how many of two lists' numbers differ; none may.
    pub(super) fn equal(&mut self, group: &str, tensor: &str, got: &[u32], want: &[u32]) {
        let wrong = got.iter().zip(want).filter(|(got, want)| got != want).count();
        let error = if got.len() == want.len() { wrong as f64 } else { f64::NAN };
        self.note(group, 0.0, tensor, error);
    }

    /// Notes how far values are off: their largest difference over the largest value, or as it is.
    pub(super) fn near(&mut self, (group, bar): (&str, f64), tensor: &str, got: &[f64], want: &[f64], relative: bool) {
        let largest = if relative { want.iter().fold(0.0f64, |most, v| most.max(v.abs())) } else { 1.0 };
        let apart = got.iter().zip(want).map(|(got, want)| (got - want).abs() / largest);
        let error = if got.len() == want.len() { apart.fold(0.0, f64::max) } else { f64::NAN };
        self.note(group, bar, tensor, error);
    }
}
