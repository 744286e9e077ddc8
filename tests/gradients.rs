//! The mathematics' proof: each operation's gradient, evaluated by the oracle, against central differences in f64.

use bootmae::{
    check::self_test::record,
    graph::{Array, Graph, interpret},
    ops::samples,
};

/// PyTorch's gradcheck defaults.
const STEP: f64 = 1e-6;
const ABSOLUTE: f64 = 1e-5;
const RELATIVE: f64 = 1e-3;

#[test]
fn every_gradient_agrees_with_central_differences() {
    let mut checked = 0;
    for sample in samples() {
        let graph = Graph::new();
        let recording = record(&graph, &sample);
        let Some((_, dy)) = recording.leaves.iter().find(|(t, _)| t.name() == "dy") else { continue };
        let output = recording.results[0].1;
        let loss = |leaves: &[(bootmae::graph::Tensor<'_>, Array)]| -> f64 {
            let y = interpret(&graph, leaves, &[output]).remove(0);
            y.data.iter().zip(&dy.data).map(|(y, d)| y * d).sum()
        };
        for (name, tensor) in recording.results.iter().filter(|(name, _)| name.starts_with("gradient of input ")) {
            let index: usize = name["gradient of input ".len()..].parse().expect("a number");
            let analytic = interpret(&graph, &recording.leaves, &[*tensor]).remove(0);
            let stride = (analytic.data.len() / 40).max(1);
            for at in (0..analytic.data.len()).step_by(stride) {
                let mut leaves = recording.leaves.clone();
                let value = leaves[index].1.data[at];
                leaves[index].1.data[at] = value + STEP;
                let above = loss(&leaves);
                leaves[index].1.data[at] = value - STEP;
                let numeric = (above - loss(&leaves)) / (2.0 * STEP);
                let error = (analytic.data[at] - numeric).abs();
                assert!(
                    error <= ABSOLUTE + RELATIVE * numeric.abs(),
                    "{name} of {}, element {at}: {} but differences give {numeric}",
                    sample.op.name(),
                    analytic.data[at]
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 500, "only {checked} elements were compared");
}
