//! The kernels' proof: every operation on every adapter against the f64 oracle, forward and gradient.

mod common;

use std::{any::Any, collections::BTreeSet};

use bootmae::{
    check::{
        selection::{Selected, Selection},
        self_test::{Outcome, STORES_F16, runs_with, self_test_of},
    },
    device::{Device, DeviceOptions, candidates, matrix_rows, matrix_tiles, norm_candidates, row_candidates},
    kernels::{ALL, AttentionVariant, Feature, Form, LayerNormVariant, LossVariant, Tile, Tuning, Variant, Work},
    lower::Precision,
    ops::{Attention, Sample, samples},
    shape::{DType, TensorType},
    train::tune::{Need, compare, tune},
};

/// What `BOOTMAE_OP` and `BOOTMAE_VARIANT` ask for: parts of the names of operations and variants, as for `bootmae doctor`.
/// Without them, everything.
fn selection() -> Selection {
    Selection { op: std::env::var("BOOTMAE_OP").ok(), variant: std::env::var("BOOTMAE_VARIANT").ok() }
}

/// Checks samples; those that store halves are among them exactly if a tuning's variants can.
fn check_with_f16(device: &Device, tuning: &Tuning, samples: Vec<Sample>, expected: bool) {
    let outcomes = check(device, tuning, samples);
    let found = outcomes.iter().any(|outcome| outcome.name.ends_with(STORES_F16));
    let some_are_left_out = selection().op.is_some();
    assert!(found == expected || some_are_left_out, "on {} with {tuning:?}", device.adapter());
}

/// The samples for a variant that is not the built-in one. SwiftShader compiles most of them for minutes, one at a time: it
/// gets the smallest of each operation, in f32 and with halves, unless `BOOTMAE_OP` or `BOOTMAE_VARIANT` is set.
fn few(device: &Device, mut samples: Vec<Sample>) -> Vec<Sample> {
    let selection = selection();
    if device.adapter().name.contains("SwiftShader") && selection.op.is_none() && selection.variant.is_none() {
        let size = |sample: &Sample| sample.inputs.iter().map(|(ty, _)| ty.len()).sum::<usize>();
        samples.sort_by_key(size);
        let mut seen = BTreeSet::new();
        // What stores halves is an operation of its own by its type.
        let kind = |sample: &Sample| {
            let halves = sample.inputs.iter().any(|(ty, _)| ty.dtype == DType::F16);
            (sample.op.name().to_owned(), (&*sample.op as &dyn Any).type_id(), halves)
        };
        samples.retain(|sample| seen.insert(kind(sample)));
    }
    samples
}

fn check(device: &Device, tuning: &Tuning, samples: Vec<Sample>) -> Vec<Outcome> {
    let selection = selection();
    let samples: Vec<_> = samples.into_iter().filter(|sample| selection.takes_op(sample.op.name())).collect();
    let outcomes = pollster::block_on(self_test_of(device, tuning, samples)).expect("the self-test runs");
    assert!(!outcomes.is_empty() || selection.op.is_some());
    let failed: Vec<_> = outcomes.iter().filter(|o| !o.pass).collect();
    assert!(failed.is_empty(), "on {} with {tuning:?}: {failed:#?}", device.adapter());
    outcomes
}

/// Bounds checks change no kernel's arithmetic, and compile long: those of the kernels that browsers run are proven here, and
/// the built-in ones' in the browser.
#[test]
fn the_web_safe_kernels_agree_with_the_oracle_with_bounds_checked() {
    common::on_each_adapter(|device, _| {
        if device.is_checked() {
            check_with_f16(&device, &Tuning::default(), samples(), true);
        }
    });
}

#[test]
fn every_operation_agrees_with_the_oracle() {
    on_each_trusted(|device, tuning| check_with_f16(&device, &tuning, samples(), true));
}

/// Every adapter, with trusted shader modules.
fn on_each_trusted(test: impl Fn(Device, Tuning) + Sync) {
    common::on_each_adapter(|device, tuning| {
        if !device.is_checked() {
            test(device, tuning);
        }
    });
}

#[test]
fn every_matmul_tile_agrees_with_the_oracle() {
    let others = [
        Tile::Naive,
        Tile::Register { tile_m: 3, tile_n: 5, group_m: 2, group_n: 16 },
        Tile::RegisterVec4 { tile_m: 4, tile_n: 8, group_m: 2, group_n: 4 },
    ];
    on_each_trusted(|device, tuning| {
        let shared = [(4, 4, 8, 8, 16), (8, 8, 8, 8, 16), (4, 8, 2, 4, 4)];
        let shared = shared.map(|(rows, cols, group_rows, group_cols, depth)| Tile::SharedMemory {
            tile_m: rows,
            tile_n: cols,
            group_m: group_rows,
            group_n: group_cols,
            tile_k: depth,
        });
        // Straight from storage too, where subgroups can be counted on.
        let straight = device.matrix_units().map(|(side, lanes)| {
            let (rows, cols) = (2, 2);
            Tile::CooperativeMatrix { side, blocks_m: rows, blocks_n: cols, subgroups_m: 2, subgroups_n: 2, lanes }
        });
        let tiles = candidates(&device).into_iter().chain(others).chain(shared);
        let tiles = tiles.chain(matrix_tiles(&device)).chain(straight);
        let tiles = tiles.filter(|tile| selection().takes_variant(Variant::Matmul(*tile)));
        for tile in tiles {
            // So is what fuses into matmuls; a small tile in shared memory shows it for what GPUs run, and one in
            // fours.
            let fused = matches!(
                tile,
                Tile::SharedMemory { tile_k: 4, .. }
                    | Tile::RegisterVec4 { tile_m: 4, .. }
                    | Tile::CooperativeMatrix { blocks_m: 2, .. }
                    | Tile::CooperativeMatrixShared { blocks_m: 2, .. }
            );
            let takes = |name: &str| name.starts_with("matmul") && (fused || !name.contains('+'));
            let matmuls = samples().into_iter().filter(|sample| takes(sample.op.name()));
            // What differs in half precision, loads and stores, the smaller tiles in fours show.
            let large = matches!(tile, Tile::SubgroupVec4 { tile_m: rows, .. } if rows > 32);
            let halves = |sample: &Sample| sample.inputs.iter().any(|(ty, _)| ty.dtype == DType::F16);
            let matmuls = matmuls.filter(|sample| !large || !halves(sample));
            let stores = !large && !matches!(tile, Tile::Naive | Tile::Register { .. } | Tile::Subgroup { .. });
            let tuning = Tuning::uniform(tile, tuning.attention.of(DType::F32), tuning.layer_norm);
            check_with_f16(&device, &tuning, few(&device, matmuls.collect()), stores);
        }
    });
}

/// Whether a sample is of an operation or its gradient.
fn is_of(sample: &Sample, op: &str) -> bool {
    sample.op.name().strip_suffix("_backward").unwrap_or(sample.op.name()) == op
}

#[test]
fn every_attention_agrees_with_the_oracle() {
    on_each_trusted(|device, tuning| {
        let quads = |group, rows| AttentionVariant::Vec4 { group, rows };
        let shared = |group| AttentionVariant::SharedMemory { group };
        let others = [AttentionVariant::Scalar { group: 8 }, quads(8, 1), quads(4, 3), shared(8), shared(64)];
        let rows = row_candidates(&device, DType::F16).into_iter().chain(matrix_rows(&device)).chain(others);
        // The built-in one is proven with every operation.
        let built_in =
            |rows: &AttentionVariant| [DType::F32, DType::F16].iter().all(|dtype| tuning.attention.of(*dtype) == *rows);
        let rows = rows.filter(|rows| selection().takes_variant(Variant::Attention(*rows)));
        for attention in rows.filter(|rows| !built_in(rows)) {
            let mut attended: Vec<_> = samples().into_iter().filter(|sample| is_of(sample, "attention")).collect();
            // Wide heads compile long elsewhere.
            if attention == shared(8) {
                let wide = |head: usize| Sample::random(Attention { heads: 1, first_query: 3 }, &[&[1, 13, 3 * head]]);
                attended.extend([84, 100].map(wide));
            }
            let other = tuning.clone().with_attention(attention);
            let attended = few(&device, attended);
            check_with_f16(&device, &other, attended, !matches!(attention, AttentionVariant::Scalar { .. }));
        }
    });
}

#[test]
fn every_layer_norm_agrees_with_the_oracle() {
    on_each_trusted(|device, tuning| {
        let others = [
            LayerNormVariant::SharedMemory { group: 64 },
            LayerNormVariant::SharedMemory { group: 8 },
            LayerNormVariant::Vec4 { group: 8 },
        ];
        let norms = norm_candidates(&device).into_iter().chain(others);
        for norm in norms.filter(|norm| selection().takes_variant(Variant::LayerNorm(*norm))) {
            let norms = samples().into_iter().filter(|sample| is_of(sample, "layer_norm")).collect();
            let norms = few(&device, norms);
            let mut other = tuning.clone();
            other.layer_norm = norm;
            check_with_f16(&device, &other, norms, norm != LayerNormVariant::Scalar);
        }
    });
}

#[test]
fn both_ways_of_the_loss_agree_with_the_oracle() {
    on_each_trusted(|device, tuning| {
        for masked_mse in [LossVariant::Scalar, LossVariant::SharedMemory] {
            let losses = samples().into_iter().filter(|sample| sample.op.name() == "masked_mse+backward").collect();
            check(&device, &Tuning { masked_mse, ..tuning.clone() }, losses);
        }
    });
}

#[test]
fn a_selection_takes_what_its_words_are_part_of() {
    let device = common::one_device(DeviceOptions::default());
    let chosen = |op: &str, variant: Option<&str>| {
        Selection { op: Some(op.into()), variant: variant.map(String::from) }.of(&device)
    };
    let [built_in] = &chosen("matmul_nt+gelu", None)[..] else { panic!("one tuning runs all") };
    assert!(built_in.samples.len() > 1 && built_in.samples.iter().all(|s| s.op.name().contains("matmul_nt+gelu")));
    let texts = built_in.texts();
    assert!(texts.iter().any(|(head, text)| head.starts_with("matmul") && text.contains("fn forward(")), "{texts:?}");
    let registers = chosen("matmul", Some("register tile"));
    assert!(!registers.is_empty());
    for selected in registers {
        assert!(matches!(selected.variant, Some(Variant::Matmul(Tile::Register { .. } | Tile::RegisterVec4 { .. }))));
        assert!(selected.texts().iter().any(|(head, _)| head.starts_with("matmul_register")));
    }
    assert!(chosen("layer_norm", Some("register tile")).is_empty() && chosen("nothing", None).is_empty());
}

/// Few adapters run these, but what they would read is checked everywhere.
#[test]
fn the_texts_of_cooperative_matrices_are_valid() {
    let mut seen = BTreeSet::new();
    for (side, lanes) in [(8, 8), (16, 32)] {
        let (blocks_m, blocks_n, subgroups_m, subgroups_n) = (3, 4, 2, 2);
        let straight = Tile::CooperativeMatrix { side, blocks_m, blocks_n, subgroups_m, subgroups_n, lanes };
        let shared = Tile::CooperativeMatrixShared {
            side,
            blocks_m,
            blocks_n,
            subgroups_m,
            subgroups_n,
            lanes,
            tile_k: 2 * side,
        };
        for tile in [straight, shared] {
            let attention = AttentionVariant::CooperativeMatrix { side, subgroups: 4, lanes };
            let tuning = Tuning::uniform(tile, attention, LayerNormVariant::SharedMemory { group: 64 });
            let samples = samples().into_iter().filter(|sample| runs_with(sample, &tuning)).collect();
            for (head, text) in (Selected { variant: None, tuning, samples }).texts() {
                if head.contains("_coop_") && seen.insert(head.clone()) {
                    let module = naga::front::wgsl::parse_str(&text)
                        .unwrap_or_else(|error| panic!("{head}: {}", error.emit_to_string(&text)));
                    let all = naga::valid::Capabilities::all();
                    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), all)
                        .validate(&module)
                        .unwrap_or_else(|error| panic!("{head}: {}", error.emit_to_string(&text)));
                }
            }
        }
    }
    let kinds: BTreeSet<_> = seen.iter().map(|head| head.split('.').next().unwrap()).collect();
    let units = ALL.iter().filter(|kernel| kernel.row().needs.contains(&Feature::CooperativeMatrix));
    assert_eq!(kinds, units.map(|kernel| kernel.name).collect(), "each is chosen for some sample");
}

#[test]
fn the_built_in_and_the_web_safe_variants_are_among_the_candidates() {
    common::on_each_adapter(|device, tuning| {
        assert!(tuning.runs_on(&device, Precision::F16) && Tuning::default().runs_on(&device, Precision::F16));
        let unknown = Tile::Subgroup { lanes: 5, lane_m: 1, lane_n: 1 };
        assert!(
            !Tuning::uniform(unknown, tuning.attention.of(DType::F32), tuning.layer_norm)
                .runs_on(&device, Precision::F16)
        );
    });
}

#[test]
fn the_tuner_chooses_from_its_list_and_keeps_to_its_budget() {
    let device = common::one_device(DeviceOptions::default());
    let needs = [
        Work::Matmul { form: Form::Tn, shape: [70, 33, 65], operands: DType::F32 },
        Work::Attention { heads: 2, first_query: 1, inputs: vec![TensorType::f32(&[2, 9, 96])] },
        Work::LayerNorm { input: TensorType::f32(&[2, 9, 34]) },
    ];
    let mut needs: Vec<_> = needs.into_iter().map(|work| Need { work, of_class: true }).collect();
    // Another shape of the first one's class.
    let alone = Work::Matmul { form: Form::Tn, shape: [66, 30, 64], operands: DType::F32 };
    needs.push(Need { work: alone, of_class: false });
    let built_in = Tuning::for_device(&device);
    let began = std::time::Instant::now();
    let clock = || began.elapsed().as_secs_f64();
    let run = |budget: f64| {
        let (mut tuning, mut choices) = (built_in.clone(), Vec::new());
        let tuned = tune(&device, &needs, &mut tuning, budget, &clock, |choice| choices.push(choice.clone()));
        pollster::block_on(tuned).unwrap();
        (tuning, choices)
    };
    let (tuning, choices) = run(f64::INFINITY);
    assert_eq!(choices.len(), needs.len());
    for (choice, Need { work, of_class }) in choices.iter().zip(&needs) {
        let candidates = work.candidates(&device);
        assert!(candidates.contains(&choice.variant) && choice.measured <= candidates.len(), "{choice:?}");
        assert!(choice.measured == candidates.len() || !of_class, "{choice:?}");
        assert_eq!(tuning.variant(work), choice.variant);
        assert!(choice.gflops > 0.0 && choice.gflops >= choice.before_gflops.unwrap_or(0.0), "{choice}");
    }
    let mut compared = Vec::new();
    let need = &needs[0];
    let matmul = vec![need.work.clone(), need.work.clone()];
    pollster::block_on(compare(&device, matmul, &tuning, &clock, |one| compared.push(one.clone()))).unwrap();
    let [one] = &compared[..] else { panic!("the same computation is compared once: {compared:?}") };
    assert!(
        one.chosen == tuning.variant(&need.work) && one.rates.len() == need.work.candidates(&device).len(),
        "{one:?}"
    );
    assert!(one.share() > 0.0 && one.share() <= 1.0, "{one:?}");
    let (tuning, choices) = run(0.0);
    assert!(tuning == built_in && choices.is_empty(), "{choices:?}");
}
