//! The two plans of a training step: a task's forward and backward pass, and the update of the weights.

use super::{
    super::snapshot::{LOSS_SCALE, MOMENT1, MOMENT2},
    options::TrainerOptions,
};
use crate::{
    device::{Device, EIGHT_VALUES},
    dist::tree::places,
    graph::{Graph, Place, Tensor, gradients},
    kernels::{Tuning, Work},
    lower::{Fetch, Plan, Precision},
    nn::{Layout, Params},
    ops::{Accumulate, AdamW, Elementwise, Ema, LossScale, Settings, added, health},
    shape::TensorType,
    tasks::{Average, Read, Scalar, Task},
};

/// The trainable weights.
pub const WEIGHTS: &str = "weights";
/// The gradient of the last micro-batch.
pub const GRADIENTS: &str = "gradients";
/// Sums of micro-batches' gradients, where there are several.
pub const SUMS: &str = "sums";
/// The same and, where they are added up as a tree, the partial sums above: enough for 2²⁰ passes.
const PARTIAL_SUMS: [&str; 21] = [
    SUMS, "sums.1", "sums.2", "sums.3", "sums.4", "sums.5", "sums.6", "sums.7", "sums.8", "sums.9", "sums.10",
    "sums.11", "sums.12", "sums.13", "sums.14", "sums.15", "sums.16", "sums.17", "sums.18", "sums.19", "sums.20",
];

/// No shard is larger than WebGPU's default storage binding.
const SHARD_BYTES: u64 = 128 << 20;

/// Bytes of the loss scale's arena.
pub(super) const LOSS_SCALE_BYTES: u64 = EIGHT_VALUES;

/// A scalar of a task as the host reads it.
pub(super) struct Reported {
    pub(super) name: &'static str,
    /// Values of its tensor.
    pub(super) len: usize,
    pub(super) read: Read,
}

/// Where a task's parameters stand on a device, or without one on most.
pub(super) fn layout(device: Option<&Device>, task: &dyn Task) -> Layout {
    let most = device.map_or(SHARD_BYTES, |device| SHARD_BYTES.min(device.max_binding_bytes()));
    Layout::new(task.parameters(), most)
}

/// The arenas of a training step.
pub(super) fn arena_names(task: &dyn Task, options: &TrainerOptions) -> Vec<&'static str> {
    let average = task.average().map(|average| average.name);
    let sums = sum_arenas(options).iter().copied();
    [WEIGHTS, GRADIENTS, MOMENT1, MOMENT2].into_iter().chain(average).chain(sums).collect()
}

/// The arenas of sums of gradients.
pub(super) fn sum_arenas(options: &TrainerOptions) -> &'static [&'static str] {
    match options.micro_batches {
        1 => &[],
        passes if options.adds_as_tree() => &PARTIAL_SUMS[..places(passes)],
        _ => &[SUMS],
    }
}

/// A step that is planned but holds nothing yet.
pub struct PlannedStep {
    /// Forward and backward pass, and update.
    pub plans: [Plan; 2],
    /// Bytes of all arenas.
    pub state_bytes: u64,
}

/// Plans what a [`Trainer`] with these options would run on a device, or without one on most, allocating nothing.
pub fn planned(device: Option<&Device>, task: &dyn Task, options: &TrainerOptions) -> PlannedStep {
    let layout = layout(device, task);
    let plans = [plan_pass(task, &layout, options).0, plan_update(task, &layout, options)];
    let scale = if options.precision == Precision::F16 { LOSS_SCALE_BYTES } else { 0 };
    PlannedStep { plans, state_bytes: layout.bytes() * arena_names(task, options).len() as u64 + scale }
}

/// What a forward and backward pass of `micro_batch` images computes with kernels that have variants; nothing is
/// allocated.
pub fn work(device: &Device, task: &dyn Task, micro_batch: usize, precision: Precision) -> Vec<Work> {
    let options = TrainerOptions { precision, ..TrainerOptions::new(micro_batch, 1, Tuning::default()) };
    let (plan, _) = plan_pass(task, &layout(Some(device), task), &options);
    plan.dispatches.into_iter().filter_map(|planned| planned.work).collect()
}

/// Forward pass, losses and gradients of one micro-batch, and the scalars that the task reports; gradients are written
/// into their arena.
pub(super) fn plan_pass(task: &dyn Task, layout: &Layout, options: &TrainerOptions) -> (Plan, Vec<Reported>) {
    let graph = Graph::new();
    let params = Params::new(&graph, layout, WEIGHTS);
    let average = task.average().map(|average| Params::new(&graph, layout, average.name));
    let objective = task.record(options.micro_batch, &params, average.as_ref());
    let mut fetch = vec![Fetch::new("loss", objective.loss)];
    let mut reported = Vec::new();
    for Scalar { name, tensor, read } in objective.scalars {
        fetch.push(Fetch::new(name, tensor));
        reported.push(Reported { name, len: tensor.ty().len(), read });
    }
    if options.inspect {
        fetch.extend(objective.inspected.into_iter().map(|(name, tensor)| Fetch::new(name, tensor)));
    }
    let mut seed = graph.input("seed", TensorType::f32(&[1]));
    if options.precision == Precision::F16 {
        seed = graph.scope("loss_scale", || seed.then(Elementwise::Multiply, &[loss_scale(&graph, 1)]));
    }
    // What is frozen takes no part in the backward pass; its gradients stay zero.
    let trained = || layout.params.iter().filter(|param| !param.is_frozen());
    let wrt: Vec<_> = trained().map(|param| params.get(&param.name)).collect();
    for (param, gradient) in trained().zip(gradients(objective.loss, seed, &wrt)) {
        fetch.push(Fetch::into(&param.name, gradient, layout.place(GRADIENTS, &param.name)));
    }
    if options.micro_batches > 1 && !options.adds_apart() {
        fetch.extend(sums(&graph, layout, SUMS, GRADIENTS));
    }
    (Plan::new(&graph, &fetch, &options.plan()), reported)
}

/// An arena added to another, on top of what is there or anew.
pub(super) fn plan_add(layout: &Layout, into: &'static str, from: &'static str, options: &TrainerOptions) -> Plan {
    let graph = Graph::new();
    Plan::new(&graph, &sums(&graph, layout, into, from), &options.plan())
}

/// The same for a run of bytes.
pub(super) fn plan_add_run(
    (shard, offset, bytes): (usize, u64, u64),
    into: &'static str,
    from: &'static str,
    options: &TrainerOptions,
) -> Plan {
    let graph = Graph::new();
    let run = |arena: &'static str| {
        graph.external(arena, TensorType::f32(&[bytes as usize / 4]), Place { arena, shard, offset })
    };
    let keep = graph.input("keep_sum", TensorType::f32(&[1]));
    let sum = run(into).then(Accumulate, &[run(from), keep]);
    Plan::new(&graph, &[Fetch::new("sum", sum)], &options.plan())
}

fn sums<'g>(graph: &'g Graph, layout: &Layout, into: &'static str, from: &'static str) -> Vec<Fetch<'g>> {
    let keep = graph.input("keep_sum", TensorType::f32(&[1]));
    let values = shards(graph, layout, into).into_iter().zip(shards(graph, layout, from));
    let sum = |(index, (sum, added)): (usize, (Tensor<'g>, Tensor<'g>))| {
        Fetch::new(format!("sum {index}"), sum.then(Accumulate, &[added, keep]))
    };
    values.enumerate().map(sum).collect()
}

/// Gradient norm and health, AdamW and the moving average, each one dispatch a shard; the sums of the drift are the
/// average's.
pub(super) fn plan_update(task: &dyn Task, layout: &Layout, options: &TrainerOptions) -> Plan {
    let graph = Graph::new();
    let settings = graph.input("settings", TensorType::f32(&[Settings::LEN]));
    let source = if options.micro_batches > 1 { SUMS } else { GRADIENTS };
    let gradients = shards(&graph, layout, source);
    let mut health = graph.scope("health", || health(&gradients));
    if options.precision == Precision::F16 {
        health = graph.scope("loss_scale", || health.then(LossScale, &[loss_scale(&graph, 2)]));
    }
    let mut fetch = vec![Fetch::new("health", health)];
    let average = task.average();
    let compared = average.map(|average| layout.runs(average.name, average.measured)).unwrap_or_default();
    let mut apart = Vec::new();
    for (index, gradient) in gradients.into_iter().enumerate() {
        let of = |arena| shard(&graph, layout, arena, index);
        let state = [of(WEIGHTS), gradient, of(MOMENT1), of(MOMENT2), settings, health];
        let adamw = AdamW { groups: layout.shards[index].groups.clone() };
        let updated = graph.scope("optimiser", || graph.apply(adamw, &state));
        let names = [WEIGHTS, MOMENT1, MOMENT2];
        fetch.extend(names.iter().zip(&updated).map(|(name, t)| Fetch::new(format!("{name} {index}"), *t)));
        if let Some(Average { name, .. }) = average {
            let run = |(place, len): &(Place, usize)| (place.offset as usize / 4, place.offset as usize / 4 + len);
            let mut measured = compared.iter().filter(|(place, _)| place.shard == index).map(run);
            let ema = Ema { measured: [(); 2].map(|()| measured.next().unwrap_or_default()) };
            assert!(measured.next().is_none(), "the values compared are one run that decays and one that does not");
            let state = [of(name), updated[0], settings, health];
            let followed = graph.scope(name, || graph.apply(ema, &state));
            fetch.push(Fetch::new(format!("{name} {index}"), followed[0]));
            apart.push(followed[1]);
        }
    }
    if average.is_some() {
        fetch.push(Fetch::new("drift", graph.scope("drift", || added(apart.into_iter()))));
    }
    Plan::new(&graph, &fetch, &options.plan())
}

/// The loss scale's state, or its first value, which is the scale.
fn loss_scale(graph: &Graph, len: usize) -> Tensor<'_> {
    graph.external(LOSS_SCALE, TensorType::f32(&[len]), Place { arena: LOSS_SCALE, shard: 0, offset: 0 })
}

/// A whole shard of an arena as a vector.
fn shard<'g>(graph: &'g Graph, layout: &Layout, arena: &'static str, index: usize) -> Tensor<'g> {
    let place = Place { arena, shard: index, offset: 0 };
    graph.external(&format!("{arena} {index}"), TensorType::f32(&[layout.shards[index].len]), place)
}

fn shards<'g>(graph: &'g Graph, layout: &Layout, arena: &'static str) -> Vec<Tensor<'g>> {
    (0..layout.shards.len()).map(|index| shard(graph, layout, arena, index)).collect()
}
