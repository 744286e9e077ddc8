//! The examples run, and say what they should.

use std::{env::consts::EXE_EXTENSION, process::Command};

/// What an example writes, run in the repository's folder; `cargo test` builds them beside the tests.
fn run(name: &str, arguments: &[&str]) -> String {
    let test = std::env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples").join(name).with_extension(EXE_EXTENSION);
    let mut program = Command::new(example);
    let output =
        program.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("the example is built");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The last number of a text.
fn last(told: &str) -> f64 {
    told.split_whitespace()
        .last()
        .and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no number at the end: {told}"))
}

#[test]
fn the_first_graph_agrees_with_its_oracle() {
    let told = run("first_graph", &[]);
    assert!(told.contains("largest difference from the oracle") && last(&told) < 1e-5, "{told}");
}

#[test]
fn features_name_the_nearest_image() {
    let told = run("features", &["web/weights/demo.safetensors", "examples/photos/train"]);
    assert!(told.contains("apartment.jpg: nearest is ") && (0.5..0.9999).contains(&last(&told)), "{told}");
}

#[test]
fn a_task_of_ones_own_learns() {
    let told = run("linear_classifier", &[]);
    // "step 500  loss 0.0284  13 of 16 views told from 23 photos"
    let right: u32 = told.lines().last().and_then(|line| line.split_whitespace().nth(4)?.parse().ok()).unwrap();
    assert!(right >= 8, "{told}");
}
