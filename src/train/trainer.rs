//! A model on a device: its arenas, the two plans of a training step and what comes back from them.

use std::collections::{BTreeMap, VecDeque};

use web_time::Instant;

use super::snapshot::{LOSS_SCALE, MODEL, MOMENT1, MOMENT2, NamedTensor, TEACHER, check_matches};
use crate::{
    device::{Device, EIGHT_VALUES, Readback},
    error::Result,
    exec::{Arenas, Executor, Submits},
    graph::{Graph, Place, Tensor, gradients},
    kernels::{Tuning, Work},
    lower::{Fetch, Plan, PlanOptions, Precision, Recompute},
    model::{ModelConfig, Reconstructor, Teacher, inputs, inventory, of_decoder, position_tables, record},
    nn::{Layout, Params},
    ops::{Accumulate, AdamW, Elementwise, Ema, LossScale, Settings, added, column_sum, health},
    shape::TensorType,
};

/// The trainable weights.
pub const WEIGHTS: &str = "weights";
/// The gradient of the last micro-batch.
pub const GRADIENTS: &str = "gradients";
/// Sums of micro-batches' gradients, where there are several.
const SUMS: &str = "sums";

/// No shard is larger than WebGPU's default storage binding.
const SHARD_BYTES: u64 = 128 << 20;

/// Bytes of a step's scalars in a readback; the teacher's mean follows.
const SCALAR_BYTES: u64 = 48;

/// Bytes of the loss scale's arena.
const LOSS_SCALE_BYTES: u64 = EIGHT_VALUES;

/// How a [`Trainer`] is made.
#[derive(Clone, Debug)]
pub struct TrainerOptions {
    /// Images of one forward and backward pass.
    pub micro_batch: usize,
    /// Passes whose gradients add up to one update.
    pub micro_batches: usize,
    /// Kernel variants.
    pub tuning: Tuning,
    /// Keep predictions and targets readable after a step, for verification.
    pub inspect: bool,
    /// Run every operation by itself, to tell a fusion's mistake from a kernel's.
    pub no_fusion: bool,
    /// What the backward pass computes again, to hold less.
    pub recompute: Recompute,
    /// In what precision products read their operands.
    pub precision: Precision,
}

impl TrainerOptions {
    /// Passes of `micro_batch` images, `micro_batches` an update, with everything else as in training.
    pub fn new(micro_batch: usize, micro_batches: usize, tuning: Tuning) -> TrainerOptions {
        TrainerOptions {
            micro_batch,
            micro_batches,
            tuning,
            inspect: false,
            no_fusion: false,
            recompute: Recompute::None,
            precision: Precision::F32,
        }
    }

    fn plan(&self) -> PlanOptions {
        let TrainerOptions { no_fusion, recompute, precision, .. } = *self;
        PlanOptions { tuning: self.tuning.clone(), no_fusion, recompute, precision, ..Default::default() }
    }
}

/// One micro-batch as the GPU takes it.
#[derive(Clone, Copy, Debug)]
pub struct MicroBatch<'a> {
    /// Images `[batch, channels, height, width]`.
    pub images: &'a [f32],
    /// Patch indices `[batch, patches]`, visible ones first.
    pub order: &'a [u32],
    /// Loss weights `[batch, masked]`.
    pub loss_weights: &'a [f32],
}

/// The arenas of weights, moments and teacher as they were at one moment, on their way to the host.
pub struct StateCopy(Vec<(&'static str, Vec<Readback>)>);

/// What a step reports, per micro-batch averages over the update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepResult {
    /// Pixel loss plus weighted feature loss.
    pub loss: f64,
    /// The pixel loss.
    pub loss_pixel: f64,
    /// The feature loss, 0 without a feature branch.
    pub loss_feature: f64,
    /// The gradient's Euclidean norm over all parameters.
    pub gradient_norm: f64,
    /// Gradient values that were not finite.
    pub not_finite: u64,
    /// Whether no update was made: a gradient was not finite, or their norm above the limit.
    pub refused: bool,
    /// What the loss was multiplied by for the backward pass; none in f32.
    pub loss_scale: Option<f64>,
    /// How far the teacher's features of this batch are from one common vector: 1 − ‖mean‖² / mean ‖·‖²; towards 0 is
    /// collapse.
    pub teacher_spread: f64,
    /// How far the teacher is from the student after the update: ‖teacher − student‖ / ‖student‖ over the encoder's
    /// weights; 0 without a feature branch.
    pub teacher_drift: f64,
}

/// A model with its optimiser state on a device.
pub struct Trainer {
    device: Device,
    config: ModelConfig,
    options: TrainerOptions,
    layout: Layout,
    arenas: Arenas,
    pass: Executor,
    update: Executor,
    idle: Vec<Vec<Readback>>,
    pending: VecDeque<InFlight>,
}

/// A step that was submitted.
struct InFlight {
    readbacks: Vec<Readback>,
    settings: Settings,
    /// When the first of it was submitted, or shortly before.
    began: Instant,
}

impl StepResult {
    /// Whether no update was made because gradients left half precision's range. The scale of the loss is lower from the
    /// next step on, so that training goes on as if the step had not been.
    pub fn is_overflow(&self) -> bool {
        let lower = self.loss_scale.is_some_and(|scale| scale > f64::from(LossScale::LEAST));
        lower && self.not_finite > 0 && self.loss.is_finite()
    }
}

impl Trainer {
    /// Allocates and compiles everything for `config`; weights start at zero until [`Trainer::initialise`] or
    /// [`Trainer::write`].
    pub async fn new(device: Device, config: &ModelConfig, options: TrainerOptions) -> Result<Trainer> {
        let layout = layout(&device, config);
        let mut arenas = Arenas::default();
        for name in arena_names(config, &options) {
            for (index, shard) in layout.shards.iter().enumerate() {
                arenas.add(&device, name, index, shard.len as u64 * 4)?;
            }
        }
        if options.precision == Precision::F16 {
            arenas.add(&device, LOSS_SCALE, 0, LOSS_SCALE_BYTES)?;
        }
        let pass = Executor::new(&device, plan_pass(config, &layout, &options), &arenas).await?;
        let update = Executor::new(&device, plan_update(config, &layout, &options), &arenas).await?;
        for (name, table) in position_tables(config) {
            if pass.has_input(name) {
                pass.write(&device, name, bytemuck::cast_slice(&table));
            }
        }
        pass.write(&device, "seed", bytemuck::bytes_of(&(1.0 / options.micro_batches as f32)));
        let bytes = SCALAR_BYTES + config.width as u64 * 4;
        let set = || (0..options.micro_batches).map(|_| Readback::new(&device, "losses", bytes)).collect();
        let idle = vec![set(), set(), set()];
        let config = config.clone();
        Ok(Trainer { device, config, options, layout, arenas, pass, update, idle, pending: VecDeque::new() })
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// How the trainer was made.
    pub fn options(&self) -> &TrainerOptions {
        &self.options
    }

    /// The kernel variants in use.
    pub fn tuning(&self) -> &Tuning {
        &self.options.tuning
    }

    /// Where parameters stand.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The plan of a forward and backward pass.
    pub fn pass(&self) -> &Executor {
        &self.pass
    }

    /// The plan of an update.
    pub fn update(&self) -> &Executor {
        &self.update
    }

    /// GPU memory held: arenas, inputs and scratch, in bytes.
    pub fn gpu_bytes(&self) -> u64 {
        let plans = [self.pass.plan(), self.update.plan()];
        self.arenas.bytes() + plans.iter().map(|p| p.pool_bytes() + p.input_bytes()).sum::<u64>()
    }

    /// The least that any plan of this step could hold: parameters and their state, inputs and live activations.
    pub fn least_bytes(&self) -> u64 {
        let plans = [self.pass.plan(), self.update.plan()];
        self.arenas.bytes() + plans.iter().map(|p| p.live_bytes + p.input_bytes()).sum::<u64>()
    }

    /// Gives weights and teacher their published start for a seed and clears the moments.
    pub fn initialise(&self, seed: u64) {
        for param in &self.layout.params {
            let values = param.initial(seed);
            self.write(WEIGHTS, &param.name, &values);
            if self.config.feature_branch {
                self.write(TEACHER, &param.name, &values);
            }
        }
        for arena in [MOMENT1, MOMENT2] {
            for (index, shard) in self.layout.shards.iter().enumerate() {
                self.arenas.write(&self.device, arena, index, 0, &vec![0; shard.len * 4]);
            }
        }
        self.write_loss_scale(&LossScale::START);
    }

    /// Writes the state of [`LossScale`], where there is one.
    fn write_loss_scale(&self, state: &[f32]) {
        if self.options.precision == Precision::F16 {
            self.arenas.write(&self.device, LOSS_SCALE, 0, 0, bytemuck::cast_slice(state));
        }
    }

    /// Writes one tensor of an arena. Panics on an unknown name or a wrong length, programming errors.
    pub fn write(&self, arena: &'static str, name: &str, values: &[f32]) {
        let place = self.layout.place(arena, name);
        let param = self.layout.params.iter().find(|p| p.name == name).expect("a placed parameter");
        assert_eq!(values.len(), param.len(), "values of `{name}`");
        self.arenas.write(&self.device, arena, place.shard, place.offset, bytemuck::cast_slice(values));
    }

    /// Reads every tensor of an arena back, in the layout's order.
    pub async fn read(&self, arena: &'static str) -> Result<Vec<NamedTensor>> {
        let mut shards = Vec::new();
        for index in 0..self.layout.shards.len() {
            shards.push(self.arenas.read(&self.device, arena, index).await?);
        }
        Ok(self.tensors(arena, &shards))
    }

    /// The tensors in the shards of an arena, in the layout's order.
    fn tensors(&self, arena: &'static str, shards: &[Vec<u8>]) -> Vec<NamedTensor> {
        let tensor = |param: &crate::nn::Param| {
            let place = self.layout.place(arena, &param.name);
            let first = place.offset as usize;
            let bytes = &shards[place.shard][first..first + param.len() * 4];
            let data = bytemuck::pod_collect_to_vec(bytes);
            NamedTensor { name: param.name.clone(), shape: param.shape.clone(), data }
        };
        self.layout.params.iter().map(tensor).collect()
    }

    /// The groups of a snapshot and the arenas that they mirror.
    fn groups(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let all = [(MODEL, WEIGHTS), (MOMENT1, MOMENT1), (MOMENT2, MOMENT2), (TEACHER, TEACHER)];
        all.into_iter().take(if self.config.feature_branch { 4 } else { 3 })
    }

    /// The group of the loss scale's state, where there is one.
    fn loss_scale_group(&self) -> Option<&'static str> {
        (self.options.precision == Precision::F16).then_some(LOSS_SCALE)
    }

    /// Submits a copy of the state after the steps submitted so far. Steps may follow at once; they do not change it.
    pub fn copy_state(&self) -> StateCopy {
        let shards = |arena| (0..self.layout.shards.len()).map(move |i| self.arenas.copy(&self.device, arena, i));
        let scale = self.loss_scale_group().map(|group| (group, vec![self.arenas.copy(&self.device, LOSS_SCALE, 0)]));
        StateCopy(self.groups().map(|(group, arena)| (group, shards(arena).collect())).chain(scale).collect())
    }

    /// Waits for a copy of the state: tensors by group, as a snapshot holds them.
    pub async fn take_state(&self, copy: StateCopy) -> Result<BTreeMap<String, Vec<NamedTensor>>> {
        let mut groups = BTreeMap::new();
        for (group, readbacks) in copy.0 {
            let mut shards = Vec::new();
            for readback in readbacks {
                shards.push(readback.take(&self.device).await?);
            }
            let tensors = match self.groups().find(|(name, _)| *name == group) {
                Some((_, arena)) => self.tensors(arena, &shards),
                None => {
                    let state: Vec<f32> = bytemuck::pod_collect_to_vec(&shards[0]);
                    vec![loss_scale_tensor(&state[..LossScale::START.len()])]
                }
            };
            groups.insert(group.to_owned(), tensors);
        }
        Ok(groups)
    }

    /// Takes a snapshot's state over, or says what does not fit and changes nothing.
    pub fn restore(&self, state: &BTreeMap<String, Vec<NamedTensor>>) -> Result<(), String> {
        let held = |group| state.get(group).map(Vec::as_slice).unwrap_or_default();
        for (group, _) in self.groups() {
            check_matches(group, held(group), self.layout.needed())?;
        }
        if let Some(group) = self.loss_scale_group() {
            let needed = loss_scale_tensor(&LossScale::START);
            check_matches(group, held(group), [(&needed.name[..], &needed.shape[..])])?;
            let state = &held(group)[0].data;
            if !(state[0].is_finite() && state[0] >= LossScale::LEAST && state[1] >= 0.0) {
                return Err(format!("`{group}` holds {state:?}, which is no scale and number of steps"));
            }
            self.write_loss_scale(state);
        }
        for (group, arena) in self.groups() {
            held(group).iter().for_each(|tensor| self.write(arena, &tensor.name, &tensor.data));
        }
        Ok(())
    }

    /// Starts from given weights, for the teacher too, or says what does not fit and changes nothing.
    pub fn start_from(&self, weights: &[NamedTensor]) -> Result<(), String> {
        check_matches(MODEL, weights, self.layout.needed())?;
        for arena in [Some(WEIGHTS), self.config.feature_branch.then_some(TEACHER)].into_iter().flatten() {
            weights.iter().for_each(|tensor| self.write(arena, &tensor.name, &tensor.data));
        }
        Ok(())
    }

    /// The student over this trainer's weights, for one image at a time.
    pub async fn reconstructor(&self) -> Result<Reconstructor> {
        Reconstructor::over(&self.device, &self.config, &self.layout, &self.arenas).await
    }

    /// The momentum encoder over this trainer's weights, where there is one.
    pub async fn teacher(&self) -> Result<Option<Teacher>> {
        match self.config.feature_branch {
            true => Teacher::over(&self.device, &self.config, &self.layout, &self.arenas).await.map(Some),
            false => Ok(None),
        }
    }

    /// Submits one training step: every micro-batch's forward and backward pass, then the update. Results come from
    /// [`Trainer::take`], in order, up to three steps later.
    pub fn step(&mut self, batches: &[MicroBatch<'_>], feature_weight: f32, settings: Settings) {
        assert_eq!(batches.len(), self.options.micro_batches, "micro-batches of a step");
        let readbacks = self.idle.pop().expect("at most three steps in flight; take results first");
        let began = Instant::now();
        for (index, (batch, readback)) in batches.iter().zip(&readbacks).enumerate() {
            let last = index + 1 == batches.len();
            let mut submits = Submits::new(&self.device);
            submits.write(&[
                (&self.pass, inputs::FEATURE_WEIGHT, bytemuck::bytes_of(&feature_weight)),
                (&self.pass, inputs::IMAGES, bytemuck::cast_slice(batch.images)),
                (&self.pass, inputs::ORDER, bytemuck::cast_slice(batch.order)),
                (&self.pass, inputs::WEIGHTS, bytemuck::cast_slice(batch.loss_weights)),
                (&self.pass, "keep_sum", bytemuck::bytes_of(&(index.min(1) as f32))),
                (&self.update, "settings", bytemuck::bytes_of(&settings)),
            ]);
            submits.record(&self.pass);
            if last {
                submits.record(&self.update);
            }
            let mut encoder = submits.finish();
            self.pass.copy_output(&mut encoder, "loss", readback, 0);
            self.pass.copy_output(&mut encoder, "loss_pixel", readback, 4);
            if self.config.feature_branch {
                self.pass.copy_output(&mut encoder, "loss_feature", readback, 8);
                self.pass.copy_output(&mut encoder, "teacher_sum", readback, SCALAR_BYTES);
            }
            if last {
                self.update.copy_output(&mut encoder, "health", readback, 16);
                if self.config.feature_branch {
                    self.update.copy_output(&mut encoder, "drift", readback, 32);
                }
            }
            readback.submit(&self.device, encoder);
        }
        self.pending.push_back(InFlight { readbacks, settings, began });
    }

    /// Steps submitted whose results were not taken yet.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Waits for the oldest step in flight and returns its results. Panics when none is, a programming error.
    pub async fn take(&mut self) -> Result<StepResult> {
        let InFlight { readbacks, settings, began } = self.pending.pop_front().expect("a step in flight");
        let mut result = StepResult::default();
        let count = readbacks.len() as f64;
        for readback in &readbacks {
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(&readback.take(&self.device).await?);
            result.loss += f64::from(values[0]) / count;
            result.loss_pixel += f64::from(values[1]) / count;
            result.gradient_norm = f64::from(values[4]).sqrt();
            result.not_finite = values[5] as u64;
            result.refused = settings.refuse(values[4], result.not_finite);
            result.loss_scale = self.loss_scale_group().map(|_| 1.0 / f64::from(values[6]));
            if self.config.feature_branch {
                result.loss_feature += f64::from(values[2]) / count;
                result.teacher_drift = (f64::from(values[8]) / f64::from(values[9])).sqrt();
                let rows = (self.options.micro_batch * self.config.masked) as f64;
                let sums = &values[(SCALAR_BYTES / 4) as usize..];
                let square: f64 = sums.iter().map(|v| (f64::from(*v) / rows).powi(2)).sum();
                result.teacher_spread += (1.0 - square / self.config.width as f64) / count;
            }
        }
        self.idle.push(readbacks);
        // Whatever was in flight before it counts too: rather too slow than too fast.
        let slowest = count * self.pass.seconds() + self.update.seconds();
        self.device.learn_speed(slowest, began.elapsed().as_secs_f64());
        Ok(result)
    }
}

/// Where the parameters of `config` stand on a device.
fn layout(device: &Device, config: &ModelConfig) -> Layout {
    Layout::new(inventory(config), SHARD_BYTES.min(device.max_binding_bytes()))
}

/// The arenas of a training step.
fn arena_names(config: &ModelConfig, options: &TrainerOptions) -> Vec<&'static str> {
    let teacher = config.feature_branch.then_some(TEACHER);
    let sums = (options.micro_batches > 1).then_some(SUMS);
    [WEIGHTS, GRADIENTS, MOMENT1, MOMENT2].into_iter().chain(teacher).chain(sums).collect()
}

/// A step that is planned but holds nothing yet.
pub(super) struct PlannedStep {
    /// Forward and backward pass, and update.
    pub plans: [Plan; 2],
    /// Bytes of all arenas.
    pub state_bytes: u64,
}

/// Plans what a [`Trainer`] with these options would run on a device, or without one on most, allocating nothing.
pub(super) fn planned(device: Option<&Device>, config: &ModelConfig, options: &TrainerOptions) -> PlannedStep {
    let layout = device.map_or_else(|| Layout::new(inventory(config), SHARD_BYTES), |device| layout(device, config));
    let plans = [plan_pass(config, &layout, options), plan_update(config, &layout, options)];
    let scale = if options.precision == Precision::F16 { LOSS_SCALE_BYTES } else { 0 };
    PlannedStep { plans, state_bytes: layout.bytes() * arena_names(config, options).len() as u64 + scale }
}

/// What a forward and backward pass of `micro_batch` images computes with kernels that have variants; nothing is
/// allocated.
pub fn work(device: &Device, config: &ModelConfig, micro_batch: usize, precision: Precision) -> Vec<Work> {
    let options = TrainerOptions { precision, ..TrainerOptions::new(micro_batch, 1, Tuning::default()) };
    let plan = plan_pass(config, &layout(device, config), &options);
    plan.dispatches.into_iter().filter_map(|planned| planned.work).collect()
}

/// Forward, teacher, losses and gradients of one micro-batch; gradients are written into their arena.
fn plan_pass(config: &ModelConfig, layout: &Layout, options: &TrainerOptions) -> Plan {
    let graph = Graph::new();
    let student = Params::new(&graph, layout, WEIGHTS);
    let teacher = config.feature_branch.then(|| Params::new(&graph, layout, TEACHER));
    let recorded = record(config, options.micro_batch, &student, teacher.as_ref());
    let mut fetch = vec![Fetch::new("loss", recorded.loss), Fetch::new("loss_pixel", recorded.loss_pixel)];
    if options.inspect {
        fetch.push(Fetch::new("pixels", recorded.pixels));
    }
    if let Some(branch) = &recorded.features {
        let sum = graph.scope("teacher_spread", || column_sum::columns(branch.target));
        fetch.extend([Fetch::new("loss_feature", branch.loss), Fetch::new("teacher_sum", sum)]);
        if options.inspect {
            fetch.extend([Fetch::new("features", branch.predicted), Fetch::new("feature_target", branch.target)]);
        }
    }
    let mut seed = graph.input("seed", TensorType::f32(&[1]));
    if options.precision == Precision::F16 {
        seed = graph.scope("loss_scale", || seed.then(Elementwise::Multiply, &[loss_scale(&graph, 1)]));
    }
    let wrt: Vec<_> = layout.params.iter().map(|p| student.get(&p.name)).collect();
    for (param, gradient) in layout.params.iter().zip(gradients(recorded.loss, seed, &wrt)) {
        fetch.push(Fetch::into(&param.name, gradient, layout.place(GRADIENTS, &param.name)));
    }
    if options.micro_batches > 1 {
        let keep = graph.input("keep_sum", TensorType::f32(&[1]));
        for (index, sum) in shards(&graph, layout, SUMS).into_iter().enumerate() {
            let gradient = shard(&graph, layout, GRADIENTS, index);
            fetch.push(Fetch::new(format!("sum {index}"), sum.then(Accumulate, &[gradient, keep])));
        }
    }
    Plan::new(&graph, &fetch, &options.plan())
}

/// Gradient norm and health, AdamW and the teacher's moving average, each one dispatch a shard; the sums of the teacher's
/// drift are the average's.
fn plan_update(config: &ModelConfig, layout: &Layout, options: &TrainerOptions) -> Plan {
    let graph = Graph::new();
    let settings = graph.input("settings", TensorType::f32(&[Settings::LEN]));
    let source = if options.micro_batches > 1 { SUMS } else { GRADIENTS };
    let gradients = shards(&graph, layout, source);
    let mut health = graph.scope("health", || health(&gradients));
    if options.precision == Precision::F16 {
        health = graph.scope("loss_scale", || health.then(LossScale, &[loss_scale(&graph, 2)]));
    }
    let mut fetch = vec![Fetch::new("health", health)];
    let encoder = layout.runs(TEACHER, |name| !of_decoder(name));
    let mut apart = Vec::new();
    for (index, gradient) in gradients.into_iter().enumerate() {
        let of = |arena| shard(&graph, layout, arena, index);
        let state = [of(WEIGHTS), gradient, of(MOMENT1), of(MOMENT2), settings, health];
        let adamw = AdamW { groups: layout.shards[index].groups.clone() };
        let updated = graph.scope("optimiser", || graph.apply(adamw, &state));
        let names = [WEIGHTS, MOMENT1, MOMENT2];
        fetch.extend(names.iter().zip(&updated).map(|(name, t)| Fetch::new(format!("{name} {index}"), *t)));
        if config.feature_branch {
            let run = |(place, len): &(Place, usize)| (place.offset as usize / 4, place.offset as usize / 4 + len);
            let mut measured = encoder.iter().filter(|(place, _)| place.shard == index).map(run);
            let ema = Ema { measured: [(); 2].map(|()| measured.next().unwrap_or_default()) };
            assert!(measured.next().is_none(), "the encoder's values are one run that decays and one that does not");
            let state = [of(TEACHER), updated[0], settings, health];
            let followed = graph.scope("teacher", || graph.apply(ema, &state));
            fetch.push(Fetch::new(format!("{TEACHER} {index}"), followed[0]));
            apart.push(followed[1]);
        }
    }
    if config.feature_branch {
        fetch.push(Fetch::new("drift", graph.scope("drift", || added(apart.into_iter()))));
    }
    Plan::new(&graph, &fetch, &options.plan())
}

/// The loss scale's state, or its first value, which is the scale.
fn loss_scale(graph: &Graph, len: usize) -> Tensor<'_> {
    graph.external(LOSS_SCALE, TensorType::f32(&[len]), Place { arena: LOSS_SCALE, shard: 0, offset: 0 })
}

/// The loss scale's state as a snapshot holds it.
fn loss_scale_tensor(state: &[f32]) -> NamedTensor {
    NamedTensor { name: "state".into(), shape: vec![state.len()], data: state.to_vec() }
}

/// A whole shard of an arena as a vector.
fn shard<'g>(graph: &'g Graph, layout: &Layout, arena: &'static str, index: usize) -> Tensor<'g> {
    let place = Place { arena, shard: index, offset: 0 };
    graph.external(&format!("{arena} {index}"), TensorType::f32(&[layout.shards[index].len]), place)
}

fn shards<'g>(graph: &'g Graph, layout: &Layout, arena: &'static str) -> Vec<Tensor<'g>> {
    (0..layout.shards.len()).map(|index| shard(graph, layout, arena, index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_is_no_fault_as_long_as_the_scale_can_fall() {
        let overflow = |loss_scale, not_finite, loss| {
            StepResult { loss_scale, not_finite, loss, ..StepResult::default() }.is_overflow()
        };
        assert!(overflow(Some(2.0), 1, 1.0));
        assert!(!overflow(Some(1.0), 1, 1.0), "the smallest scale");
        assert!(!overflow(None, 1, 1.0), "f32 has none");
        assert!(!overflow(Some(2.0), 0, 1.0), "all gradients are finite");
        assert!(!overflow(Some(2.0), 1, f64::NAN), "the loss itself is at fault");
    }
}
