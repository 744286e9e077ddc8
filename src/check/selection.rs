//! Which operations and kernel variants of a device a self-test takes, and the texts of their kernels.

use std::collections::BTreeSet;

use super::self_test::{record, runs_with};
use crate::{
    device::{Device, candidates, matrix_rows, matrix_tiles, norm_candidates, row_candidates},
    graph::Graph,
    kernels::{ByType, Matmuls, Tuning, Variant},
    lower::{Fetch, Plan, PlanOptions},
    ops::{Sample, samples},
    shape::DType,
};

/// Parts of names: of operations, and of the variants of their kernels. Without a variant the built-in choice runs.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// A part of the operation's name, as in profiles: `matmul_nt+gelu`, `attention_backward`.
    pub op: Option<String>,
    /// A part of a variant's words, as `bootmae bench` prints them: `shared memory`, `vec4`.
    pub variant: Option<String>,
}

/// Samples that run with one tuning.
pub struct Selected {
    /// The variant that the tuning has for them, if one was asked for.
    pub variant: Option<Variant>,
    /// The variants to run them with.
    pub tuning: Tuning,
    /// The samples.
    pub samples: Vec<Sample>,
}

impl Selection {
    /// Whether an operation's name has the part asked for.
    pub fn takes_op(&self, name: &str) -> bool {
        self.op.as_ref().is_none_or(|part| name.contains(part.as_str()))
    }

    /// Whether a variant's words have the part asked for.
    pub fn takes_variant(&self, variant: Variant) -> bool {
        self.variant.as_ref().is_none_or(|part| variant.to_string().contains(part.as_str()))
    }

    /// What runs on a device: the samples of the operations with the built-in variants, or with each of the device's variants
    /// that was asked for.
    pub fn of(&self, device: &Device) -> Vec<Selected> {
        let built_in = Tuning::for_device(device);
        let chosen = |tuning: &Tuning, family: &str| -> Vec<Sample> {
            let takes = |sample: &Sample| {
                let name = sample.op.name();
                name.starts_with(family) && self.takes_op(name) && runs_with(sample, tuning)
            };
            samples().into_iter().filter(takes).collect()
        };
        let all = if self.variant.is_none() {
            vec![Selected { variant: None, samples: chosen(&built_in, ""), tuning: built_in }]
        } else {
            let one = |variant| {
                let (family, tuning) = of_variant(&built_in, variant);
                Selected { variant: Some(variant), samples: chosen(&tuning, family), tuning }
            };
            variants(device).into_iter().filter(|variant| self.takes_variant(*variant)).map(one).collect()
        };
        all.into_iter().filter(|selected| !selected.samples.is_empty()).collect()
    }
}

/// Every variant that may be measured on a device or chosen for it.
fn variants(device: &Device) -> Vec<Variant> {
    let tiles = candidates(device).into_iter().chain(matrix_tiles(device)).map(Variant::Matmul);
    let rows = [DType::F32, DType::F16].into_iter().flat_map(|dtype| row_candidates(device, dtype));
    let rows = rows.chain(matrix_rows(device)).map(Variant::Attention);
    let mut variants: Vec<Variant> = Vec::new();
    for variant in tiles.chain(rows).chain(norm_candidates(device).into_iter().map(Variant::LayerNorm)) {
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    variants
}

/// How the operations that have this variant are called, and the tuning with it for all of them.
fn of_variant(tuning: &Tuning, variant: Variant) -> (&'static str, Tuning) {
    let tuning = tuning.clone();
    match variant {
        Variant::Matmul(tile) => ("matmul", Tuning { matmul: Matmuls::uniform(tile), ..tuning }),
        Variant::Attention(variant) => ("attention", Tuning { attention: ByType::both(variant), ..tuning }),
        Variant::LayerNorm(variant) => ("layer_norm", Tuning { layer_norm: variant, ..tuning }),
    }
}

impl Selected {
    /// The kernels of the samples, each once, as the driver reads them: label with the constants that are chosen, and text.
    pub fn texts(&self) -> Vec<(String, String)> {
        let (mut seen, mut texts) = (BTreeSet::new(), Vec::new());
        for sample in &self.samples {
            let graph = Graph::new();
            let recording = record(&graph, sample);
            let fetch: Vec<_> = recording.results.iter().map(|(name, t)| Fetch::new(name, *t)).collect();
            let plan = Plan::new(&graph, &fetch, &PlanOptions { tuning: self.tuning.clone(), ..Default::default() });
            for dispatch in &plan.dispatches {
                let constants: Vec<_> = dispatch.constants.iter().map(|c| format!(" {}={}", c.name, c.value)).collect();
                let head = dispatch.kernel.label() + &constants.concat();
                if seen.insert(head.clone()) {
                    texts.push((head, dispatch.kernel.text(dispatch.kernel.source, &dispatch.constants)));
                }
            }
        }
        texts
    }
}
