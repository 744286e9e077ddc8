//! The whole model against fixtures that a float64 reference wrote, on every adapter.

mod common;

use std::io::Write;

use bootmae::{
    check::verify::verify,
    device::{matrix_rows, matrix_tiles},
    formats::tensors::{self, TensorFile},
    kernels::Tuning,
    lower::Precision,
};

fn fixture(name: &str) -> TensorFile {
    let bytes = std::fs::read(format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))).unwrap();
    tensors::parse(&bytes).unwrap()
}

fn check(name: &str, precision: Precision) {
    let file = fixture(name);
    common::on_each_adapter(|device, tuning| {
        // Bounds checks change no kernel's arithmetic: one step with them is enough.
        if device.is_checked() && (name != "step_tiny" || precision == Precision::F16) {
            return;
        }
        let report = pollster::block_on(verify(device, tuning, precision, &file)).unwrap();
        println!("{report:#?}");
        assert!(report.pass, "{report:#?}");
    });
}

#[test]
fn a_step_with_floored_heads_equals_the_reference() {
    check("step_tiny", Precision::F32);
}

#[test]
fn a_wider_step_equals_the_reference() {
    check("step_wide", Precision::F32);
}

#[test]
fn a_step_with_inner_taps_and_three_decoder_blocks_equals_the_reference() {
    check("step_taps", Precision::F32);
}

#[test]
fn a_step_of_mae_equals_the_reference() {
    check("mae_step", Precision::F32);
}

#[test]
fn fine_tuning_equals_the_reference() {
    check("finetune_step", Precision::F32);
    check("finetune_step_mae", Precision::F32);
    check("finetune_run", Precision::F32);
}

#[test]
fn twenty_steps_equal_the_reference() {
    check("trajectory_tiny", Precision::F32);
}

#[test]
fn half_precision_stays_near_the_reference() {
    check("step_tiny", Precision::F16);
    check("mae_step", Precision::F16);
    check("finetune_step", Precision::F16);
    check("finetune_run", Precision::F16);
    check("trajectory_tiny", Precision::F16);
}

#[test]
fn half_precision_by_the_kernels_of_gpus_stays_near_the_reference() {
    let file = fixture("step_wide");
    common::on_each_adapter(|device, _| {
        if !device.is_checked() {
            let report = pollster::block_on(verify(device, Tuning::for_gpus(), Precision::F16, &file)).unwrap();
            assert!(report.pass, "{report:#?}");
        }
    });
}

/// Says so where no adapter has matrix units; CONTRIBUTING names one that needs no GPU.
#[test]
fn half_precision_by_matrix_units_stays_near_the_reference() {
    let file = fixture("step_wide");
    common::on_each_adapter(|device, tuning| {
        if device.is_checked() {
            return;
        }
        let tiles = matrix_tiles(&device);
        if tiles.is_empty() {
            writeln!(std::io::stderr(), "no matrix units: matmuls in half precision run without").unwrap();
        }
        for tile in tiles {
            let device = pollster::block_on(device.reopen()).unwrap();
            let rows = matrix_rows(&device).first().copied().unwrap_or(tuning.attention.f16);
            let tuning = Tuning::uniform(tile, rows, tuning.layer_norm);
            let report = pollster::block_on(verify(device, tuning, Precision::F16, &file)).unwrap();
            assert!(report.pass, "{tile:?}: {report:#?}");
        }
    });
}
