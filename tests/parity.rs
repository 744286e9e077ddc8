//! The whole model against fixtures that a float64 reference wrote, on every adapter.

mod common;

use bootmae::train::{tensors, verify::verify};

fn check(name: &str) {
    let bytes = std::fs::read(format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let file = tensors::parse(&bytes).unwrap();
    common::on_each_adapter(|device, tuning| {
        // Bounds checks change no kernel's arithmetic: one step with them is enough.
        if device.is_checked() && name != "step_tiny" {
            return;
        }
        let report = pollster::block_on(verify(device, tuning, &file)).unwrap();
        println!("{report:#?}");
        assert!(report.pass, "{report:#?}");
    });
}

#[test]
fn a_step_with_floored_heads_equals_the_reference() {
    check("step_tiny");
}

#[test]
fn a_wider_step_equals_the_reference() {
    check("step_wide");
}

#[test]
fn a_step_with_inner_taps_and_three_decoder_blocks_equals_the_reference() {
    check("step_taps");
}

#[test]
fn twenty_steps_equal_the_reference() {
    check("trajectory_tiny");
}
