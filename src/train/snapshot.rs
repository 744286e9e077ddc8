//! The state of a run in host memory: what a checkpoint holds and what a run goes on from.

use std::collections::BTreeMap;

use super::config::RunConfig;
use crate::{data::Collection, kernels::Tuning};

/// Group of the student's weights.
pub const MODEL: &str = "model";
/// Group of the momentum encoder's weights.
pub const TEACHER: &str = "teacher";
/// Group of AdamW's first moments.
pub const MOMENT1: &str = "moment1";
/// Group of AdamW's second moments.
pub const MOMENT2: &str = "moment2";

/// Group of the loss scale's state, in half precision.
pub const LOSS_SCALE: &str = "loss_scale";

/// A tensor of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Name inside its group.
    pub name: String,
    /// Extent of each axis, outermost first.
    pub shape: Vec<usize>,
    /// Values in row-major order, as many as the product of `shape`.
    pub data: Vec<f32>,
}

/// The state of a run after `step` steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Steps completed.
    pub step: u64,
    /// The configuration the run was started with.
    pub config: RunConfig,
    /// Name of the adapter that computed the state; another one continues with slightly different numbers.
    pub adapter: String,
    /// The kernel variants that computed it, as JSON; other ones continue with slightly different numbers. None in
    /// checkpoints from before there was a choice.
    pub tuning: Option<String>,
    /// Numbers of the images that are left out since an update with them was refused, ascending.
    pub left_out: Vec<usize>,
    /// What the images were. None in checkpoints from before it was kept.
    pub collection: Option<Collection>,
    /// Tensors by group: [`MODEL`], [`TEACHER`] where there is a feature branch, [`MOMENT1`], [`MOMENT2`], in half
    /// precision [`LOSS_SCALE`].
    pub groups: BTreeMap<String, Vec<NamedTensor>>,
}

impl Snapshot {
    /// The tensors of a group, none if there is no such group.
    pub fn group(&self, name: &str) -> &[NamedTensor] {
        self.groups.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The kernel variants that it was computed with, if a device with this adapter can go on with them: only so does the
    /// run end with the bits of an uninterrupted one. States from before there was a choice mean the built-in table.
    pub fn kept_tuning(&self, adapter: &str, built_in: &Tuning, runs: impl FnOnce(&Tuning) -> bool) -> Option<Tuning> {
        if self.adapter != adapter {
            return None;
        }
        let Some(text) = &self.tuning else { return Some(built_in.clone()) };
        Tuning::read(text).ok().filter(runs)
    }
}

/// Compares the tensors of `group` with the names and shapes that are needed. The error lists what is missing, what is
/// unexpected and what has another shape.
pub fn check_matches<'a>(
    group: &str,
    tensors: &[NamedTensor],
    needed: impl IntoIterator<Item = (&'a str, &'a [usize])>,
) -> Result<(), String> {
    let mut held: BTreeMap<&str, &[usize]> = tensors.iter().map(|t| (&t.name[..], &t.shape[..])).collect();
    let (mut missing, mut reshaped) = (Vec::new(), Vec::new());
    for (name, shape) in needed {
        match held.remove(name) {
            None => missing.push(name.to_owned()),
            Some(other) if other != shape => reshaped.push(format!("{name} {other:?} (needed {shape:?})")),
            Some(_) => {}
        }
    }
    let unexpected = held.keys().map(ToString::to_string).collect();
    let kinds = [("missing", missing), ("unexpected", unexpected), ("differently shaped", reshaped)];
    let found: Vec<String> =
        kinds.iter().filter(|(_, names)| !names.is_empty()).map(|(kind, names)| listed(kind, names)).collect();
    if found.is_empty() { Ok(()) } else { Err(format!("`{group}` does not fit the model: {}", found.join("; "))) }
}

/// `2 missing: a, b`; long lists are cut.
fn listed(kind: &str, names: &[String]) -> String {
    const SHOWN: usize = 6;
    let more = names.len().saturating_sub(SHOWN);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} {kind}: {}{tail}", names.len(), names[..names.len() - more].join(", "))
}

/// A small snapshot for tests; everything in it follows from `step`.
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) fn sample(step: u64) -> Snapshot {
    let tensor = |name: &str, shape: &[usize], first: f32| NamedTensor {
        name: name.into(),
        shape: shape.into(),
        data: (0..shape.iter().product()).map(|i| first + i as f32 + step as f32).collect(),
    };
    let group = |first| vec![tensor("cls_token", &[1, 1, 4], first), tensor("norm.weight", &[3], -first)];
    let groups = [(MODEL, 1.0), (TEACHER, f32::MIN_POSITIVE), (MOMENT1, 3.0), (MOMENT2, f32::INFINITY)];
    Snapshot {
        step,
        config: RunConfig::preset("nano").unwrap(),
        adapter: "llvmpipe \"x\"".into(),
        tuning: Some("{}".into()),
        left_out: vec![3, 8],
        collection: Some(Collection::of(&crate::data::Images::default())),
        groups: groups.map(|(name, first)| (name.to_owned(), group(first))).into(),
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::kernels::{AttentionVariant, LayerNormVariant, Tile};

    #[test]
    fn its_tuning_is_kept_on_its_own_adapter_alone() {
        let own = Tuning::uniform(Tile::Naive, AttentionVariant::Scalar { group: 8 }, LayerNormVariant::Scalar);
        let built_in = Tuning::default();
        let tuning = Some(serde_json::to_string(&own).unwrap());
        let mut snapshot = Snapshot { adapter: "a".into(), tuning, ..sample(1) };
        assert_eq!(snapshot.kept_tuning("a", &built_in, |_| true), Some(own.clone()));
        assert_eq!(snapshot.kept_tuning("b", &built_in, |_| true), None);
        assert_eq!(snapshot.kept_tuning("a", &built_in, |tuning| *tuning != own), None, "no longer offered");
        snapshot.tuning = Some("damaged".into());
        assert_eq!(snapshot.kept_tuning("a", &built_in, |_| true), None);
        snapshot.tuning = None;
        assert_eq!(snapshot.kept_tuning("a", &built_in, |_| true), Some(built_in));
    }

    #[test]
    fn mismatching_tensors_are_named_with_both_shapes() {
        let held = sample(1);
        let refusal = |needed: &[(&str, &[usize])]| check_matches(MODEL, held.group(MODEL), needed.iter().copied());
        assert_eq!(refusal(&[("norm.weight", &[3]), ("cls_token", &[1, 1, 4])]), Ok(()));
        let reason = refusal(&[("norm.weight", &[4]), ("pos_embed", &[1])]).unwrap_err();
        assert!(reason.contains("1 missing: pos_embed"), "{reason}");
        assert!(reason.contains("1 unexpected: cls_token"), "{reason}");
        assert!(reason.contains("1 differently shaped: norm.weight [3] (needed [4])"), "{reason}");
        let many: Vec<String> = (0..9).map(|i| format!("n{i}")).collect();
        let needed = many.iter().map(|name| (&name[..], &[1][..]));
        let reason = check_matches("nothing", &[], needed).unwrap_err();
        assert!(reason.contains("9 missing: n0, n1, n2, n3, n4, n5 and 3 more"), "{reason}");
    }
}
