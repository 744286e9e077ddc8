//! Each operation's samples on a device against the f64 oracle, forward and gradient.

use std::any::Any;

use crate::{
    device::Device,
    error::Result,
    exec::{Arenas, Executor},
    graph::{Array, Graph, ReadsF16, Tensor, gradients, interpret},
    kernels::Tuning,
    lower::{Fetch, Plan, PlanOptions},
    ops::{
        Content, Sample, StoresF16,
        agreement::{bytes, normalised_square_error, tolerance},
        samples,
    },
    shape::{DType, TensorType},
};

/// How the name of a sample ends that stores halves. A tuning whose variants cannot store them does without those.
pub const STORES_F16: &str = " to f16";

/// How one sample fared.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Outcome {
    /// Operation and input shapes.
    pub name: String,
    /// Whether every output and gradient is near enough: within [`agreement::TOLERANCE`](crate::ops::agreement::TOLERANCE), or a wider one in half precision.
    pub pass: bool,
    /// The worst normalised mean square error.
    pub worst: f64,
    /// The output or gradient with the worst error.
    pub tensor: String,
}

/// A sample recorded as a graph with its gradients; `dy` is the gradient of the first output.
pub struct Recording<'g> {
    /// Inputs in order, then `dy` if there are gradients.
    pub leaves: Vec<(Tensor<'g>, Array)>,
    /// Outputs and gradients, by name.
    pub results: Vec<(String, Tensor<'g>)>,
}

/// Records `sample` and, where it has random inputs, its gradient.
pub fn record<'g>(graph: &'g Graph, sample: &Sample) -> Recording<'g> {
    let values = sample.values(1);
    let input = |(i, ((ty, _), value)): (usize, (&(TensorType, Content), &Array))| {
        (graph.input(&format!("x{i}"), ty.clone()), value.clone())
    };
    let mut leaves: Vec<_> = sample.inputs.iter().zip(&values).enumerate().map(input).collect();
    let x: Vec<_> = leaves.iter().map(|(t, _)| *t).collect();
    let y = graph.apply_rc(sample.op.clone(), &x);
    let mut results: Vec<_> = y.iter().enumerate().map(|(i, t)| (format!("output {i}"), *t)).collect();
    let differentiated: Vec<usize> = (0..x.len()).filter(|i| matches!(sample.inputs[*i].1, Content::Random)).collect();
    if !differentiated.is_empty() {
        let slope = Sample { op: sample.op.clone(), inputs: vec![(y[0].ty(), Content::Fixed)] }.values(2).remove(0);
        let dy = graph.input("dy", y[0].ty());
        let wrt: Vec<_> = differentiated.iter().map(|i| x[*i]).collect();
        let d = gradients(y[0], dy, &wrt);
        results.extend(differentiated.iter().zip(d).map(|(i, d)| (format!("gradient of input {i}"), d)));
        leaves.push((dy, slope));
    }
    Recording { leaves, results }
}

/// Runs every sample on `device` and compares with the oracle.
pub async fn self_test(device: &Device, tuning: &Tuning) -> Result<Vec<Outcome>> {
    self_test_of(device, tuning, samples()).await
}

/// Runs these samples on `device` and compares with the oracle.
pub async fn self_test_of(device: &Device, tuning: &Tuning, samples: Vec<Sample>) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for sample in samples.iter().filter(|sample| runs_with(sample, tuning)) {
        outcomes.push(run(device, tuning, sample).await?);
    }
    Ok(outcomes)
}

/// Whether the variants of a tuning read and store halves as a sample has them.
pub fn runs_with(sample: &Sample, tuning: &Tuning) -> bool {
    let x: Vec<_> = sample.inputs.iter().map(|(ty, _)| ty.clone()).collect();
    let reads = |(operand, ty): (usize, &TensorType)| {
        ty.dtype != DType::F16 || sample.op.reads_f16(operand, &x, tuning) != ReadsF16::Never
    };
    let stores = (&*sample.op as &dyn Any).downcast_ref::<StoresF16>().is_none_or(|op| op.runs_with(&x, tuning));
    x.iter().enumerate().all(reads) && stores
}

async fn run(device: &Device, tuning: &Tuning, sample: &Sample) -> Result<Outcome> {
    let graph = Graph::new();
    let recording = record(&graph, sample);
    let tensors: Vec<_> = recording.results.iter().map(|(_, t)| *t).collect();
    let want = interpret(&graph, &recording.leaves, &tensors);
    let fetch: Vec<_> = recording.results.iter().map(|(name, t)| Fetch::new(name, *t)).collect();
    let plan = Plan::new(&graph, &fetch, &PlanOptions { tuning: tuning.clone(), ..Default::default() });
    let executor = Executor::new(device, plan, &Arenas::default()).await?;
    executor.spoil(device);
    for (tensor, value) in &recording.leaves {
        let name = tensor.name();
        if executor.has_input(&name) {
            executor.write(device, &name, &bytes(&tensor.ty(), value));
        }
    }
    executor.run(device);
    let shapes: Vec<_> = sample.inputs.iter().map(|(ty, _)| ty.to_string()).collect();
    let halved = (&*sample.op as &dyn Any).is::<StoresF16>();
    let name = format!("{} {}{}", sample.op.name(), shapes.join(" "), if halved { STORES_F16 } else { "" });
    let attention = sample.op.name().starts_with("attention").then(|| tuning.attention.of(DType::F16));
    let mut outcome = Outcome { name, pass: true, worst: 0.0, tensor: String::new() };
    for ((name, tensor), want) in recording.results.iter().zip(&want) {
        let got = executor.read_as(device, name, tensor.ty().dtype).await?;
        let error = normalised_square_error(&got, &want.data);
        outcome.pass &= error <= tolerance(tensor.ty().dtype, attention);
        if error.is_nan() || error >= outcome.worst {
            (outcome.worst, outcome.tensor) = (error, name.clone());
        }
    }
    Ok(outcome)
}
