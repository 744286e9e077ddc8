//! The whole model against fixtures that a float64 reference wrote, on every adapter.

mod common;

use bootmae::{
    graph::Precision,
    train::{tensors, verify::verify},
};

fn check(name: &str, precision: Precision) {
    let bytes = std::fs::read(format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let file = tensors::parse(&bytes).unwrap();
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
fn twenty_steps_equal_the_reference() {
    check("trajectory_tiny", Precision::F32);
}

#[test]
fn half_precision_stays_near_the_reference() {
    check("step_tiny", Precision::F16);
    check("trajectory_tiny", Precision::F16);
}
