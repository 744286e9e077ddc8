//! A task on a device: its arenas, the two plans of a training step and what comes back from them.

mod buckets;
mod options;
mod plans;
mod result;
mod state;
mod sums;

use std::{collections::VecDeque, sync::Arc};

use web_time::Instant;

use super::snapshot::LOSS_SCALE;
use crate::{
    device::{Device, Readback},
    dist::tree::Push,
    error::Result,
    exec::{Arenas, Executor, Submits},
    kernels::Tuning,
    lower::Precision,
    nn::Layout,
    ops::Settings,
    tasks::{Average, Inputs, Scalars, Task},
};
use plans::{LOSS_SCALE_BYTES, Reported, SUMS, arena_names, layout, plan_pass, plan_update};
use sums::Sums;

pub use buckets::{BUCKET, Bucket};
pub use options::TrainerOptions;
pub use plans::{GRADIENTS, PlannedStep, WEIGHTS, planned, work};
pub use result::StepResult;
pub use state::StateCopy;

/// Bytes of what every step reports in a readback: the loss at 0, health at 16, drift at 32. The task's scalars follow.
const SCALAR_BYTES: u64 = 48;

/// A task with its optimiser state on a device.
pub struct Trainer {
    device: Device,
    task: Arc<dyn Task>,
    average: Option<Average>,
    options: TrainerOptions,
    layout: Layout,
    arenas: Arenas,
    pass: Executor,
    /// Where passes are not added up by the pass's plan.
    sums: Option<Sums>,
    /// How the gradient leaves for other processes, where there are any.
    buckets: Vec<Bucket>,
    update: Executor,
    reported: Vec<Reported>,
    idle: Vec<Vec<Readback>>,
    pending: VecDeque<InFlight>,
}

/// A step that was submitted.
struct InFlight {
    readbacks: Vec<Readback>,
    settings: Settings,
    /// What the task reports without the device's help.
    scalars: Scalars,
    /// When the first of it was submitted, or shortly before.
    began: Instant,
}

impl Trainer {
    /// Allocates and compiles everything for `task`; weights start at zero until [`Trainer::initialise`] or
    /// [`Trainer::write`].
    pub async fn new(device: Device, task: Arc<dyn Task>, options: TrainerOptions) -> Result<Trainer> {
        let layout = layout(Some(&device), &*task);
        let mut arenas = Arenas::default();
        for name in arena_names(&*task, &options) {
            for (index, shard) in layout.shards.iter().enumerate() {
                arenas.add(&device, name, index, shard.len as u64 * 4)?;
            }
        }
        if options.precision == Precision::F16 {
            arenas.add(&device, LOSS_SCALE, 0, LOSS_SCALE_BYTES)?;
        }
        let (pass, reported) = plan_pass(&*task, &layout, &options);
        let pass = Executor::new(&device, pass, &arenas).await?;
        let sums = match options.adds_apart() {
            true => Some(Sums::new(&device, &layout, &options, &arenas).await?),
            false => None,
        };
        let buckets = match (options.ranks, options.adds_as_tree()) {
            (1, _) => Vec::new(),
            (_, true) => buckets::whole(&device, &layout, pass.plan()),
            (_, false) => buckets::buckets(&device, &layout, &options, (pass.plan(), &arenas)).await?,
        };
        let update = Executor::new(&device, plan_update(&*task, &layout, &options), &arenas).await?;
        for (name, values) in task.constants() {
            if pass.has_input(name) {
                pass.write(&device, name, bytemuck::cast_slice(&values));
            }
        }
        pass.write(&device, "seed", bytemuck::bytes_of(&(1.0 / options.passes() as f32)));
        let bytes = SCALAR_BYTES + reported.iter().map(|scalar| scalar.len as u64 * 4).sum::<u64>();
        let set = || (0..options.micro_batches).map(|_| Readback::new(&device, "losses", bytes)).collect();
        let (idle, pending) = (vec![set(), set(), set()], VecDeque::new());
        let average = task.average();
        Ok(Trainer {
            device,
            task,
            average,
            options,
            layout,
            arenas,
            pass,
            sums,
            buckets,
            update,
            reported,
            idle,
            pending,
        })
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What is trained.
    pub fn task(&self) -> &Arc<dyn Task> {
        &self.task
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

    /// Weights, gradients, optimiser state and moving average, for others to read where they stand.
    pub fn arenas(&self) -> &Arenas {
        &self.arenas
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

    /// The arena of the gradients that the next update takes: those of the micro-batches together.
    pub fn gradients(&self) -> &'static str {
        if self.options.micro_batches > 1 { SUMS } else { GRADIENTS }
    }

    /// Submits one training step: every micro-batch's forward and backward pass, then the update. Results come from
    /// [`Trainer::take`], in order, up to three steps later.
    pub fn step(&mut self, batches: &[Inputs<'_>], settings: Settings) {
        let (readbacks, began) = (self.begin(batches), Instant::now());
        let submits = self.backward(batches, settings, &readbacks);
        self.finish(submits, &readbacks);
        self.pending.push_back(InFlight { readbacks, settings, scalars: self.reported(batches), began });
    }

    /// The same with an exchange of gradients between backward pass and update: `exchange` may read and write
    /// [`Trainer::gradients`], for example to average them over several processes. If it fails, no update is made.
    pub async fn step_with(
        &mut self,
        batches: &[Inputs<'_>],
        settings: Settings,
        exchange: impl AsyncFnOnce(&Trainer) -> Result<()>,
    ) -> Result<()> {
        let (readbacks, began) = (self.begin(batches), Instant::now());
        self.backward(batches, settings, &readbacks).submit();
        if let Err(error) = exchange(self).await {
            self.idle.push(readbacks);
            return Err(error);
        }
        self.finish(Submits::new(&self.device), &readbacks);
        self.pending.push_back(InFlight { readbacks, settings, scalars: self.reported(batches), began });
        Ok(())
    }

    /// What the task reports without the device's help, averaged over the passes of the update; of several processes, this
    /// one's part of the average.
    fn reported(&self, batches: &[Inputs<'_>]) -> Scalars {
        let passes = self.options.passes() as f64;
        let part = |batch: &Inputs<'_>| {
            batch.scalars.iter().map(|(name, value)| (name.to_owned(), value / passes)).collect::<Scalars>()
        };
        Scalars::added_up(batches.iter().map(part).collect())
    }

    fn begin(&mut self, batches: &[Inputs<'_>]) -> Vec<Readback> {
        assert_eq!(batches.len(), self.options.micro_batches, "micro-batches of a step");
        self.idle.pop().expect("at most three steps in flight; take results first")
    }

    /// Every micro-batch's forward and backward pass; the last one's submit is still open.
    fn backward(&self, batches: &[Inputs<'_>], settings: Settings, readbacks: &[Readback]) -> Submits<'_> {
        let mut open = None;
        let pushes = self.sums.iter().flat_map(Sums::pushes).map(Some).chain(std::iter::repeat(None));
        for (index, ((batch, readback), push)) in batches.iter().zip(readbacks).zip(pushes).enumerate() {
            let follows: Option<(&Sums, Push)> = self.sums.as_ref().zip(push);
            let (adder, keep) = follows.map_or((&self.pass, index.min(1) as f32), |(tree, push)| tree.take(push));
            let mut submits = Submits::new(&self.device);
            let mut values: Vec<_> = batch.values.iter().map(|(name, bytes)| (&self.pass, *name, &**bytes)).collect();
            values.push((adder, "keep_sum", bytemuck::bytes_of(&keep)));
            values.push((&self.update, "settings", bytemuck::bytes_of(&settings)));
            submits.write(&values);
            if index + 1 == batches.len() && !self.buckets.is_empty() {
                open = Some(self.in_buckets(submits, follows));
                continue;
            }
            submits.record(&self.pass);
            follows.into_iter().for_each(|(sums, push)| sums.record(&mut submits, push));
            if index + 1 < batches.len() {
                let mut encoder = submits.finish();
                self.copy_reported(&mut encoder, readback);
                readback.submit(&self.device, encoder);
            } else {
                open = Some(submits);
            }
        }
        open.expect("at least one micro-batch")
    }

    /// The last pass of an update over several processes: each bucket is copied to main memory as soon as it is complete, and
    /// the pass goes on meanwhile.
    fn in_buckets<'a>(&'a self, mut submits: Submits<'a>, follows: Option<(&Sums, Push)>) -> Submits<'a> {
        let (mut from, all) = (0, self.pass.plan().dispatches.len());
        for (index, bucket) in self.buckets.iter().enumerate() {
            let until = bucket.dispatches.max(from);
            submits.record_part(&self.pass, from..until);
            from = until;
            if let Some((sums, push)) = follows.filter(|_| index == 0 && self.options.adds_as_tree()) {
                sums.record(&mut submits, push);
            }
            bucket.adds.iter().for_each(|add| submits.record(add));
            let (mut encoder, mut to) = (submits.finish(), 0);
            for run in &bucket.runs {
                let place = (self.gradients(), run.shard);
                self.arenas.record_copy(&mut encoder, place, (run.offset, run.bytes), (&bucket.readback, to));
                to += run.bytes;
            }
            bucket.readback.submit(&self.device, encoder);
            submits = Submits::new(&self.device);
        }
        submits.record_part(&self.pass, from..all);
        submits
    }

    /// The parts in which the gradient leaves for other processes, in the order in which they are complete.
    pub(crate) fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Puts the values of a bucket in the gradient's place.
    pub(crate) fn bring_back(&self, bucket: &Bucket, values: &[f32]) {
        let mut bytes: &[u8] = bytemuck::cast_slice(values);
        for run in &bucket.runs {
            let (own, rest) = bytes.split_at(run.bytes as usize);
            self.arenas.write(&self.device, self.gradients(), run.shard, run.offset, own);
            bytes = rest;
        }
    }

    /// The update, and what the last micro-batch and the update report.
    fn finish(&self, mut submits: Submits<'_>, readbacks: &[Readback]) {
        submits.record(&self.update);
        let (mut encoder, readback) = (submits.finish(), readbacks.last().expect("at least one micro-batch"));
        self.copy_reported(&mut encoder, readback);
        self.update.copy_output(&mut encoder, "health", readback, 16);
        if self.average.is_some() {
            self.update.copy_output(&mut encoder, "drift", readback, 32);
        }
        readback.submit(&self.device, encoder);
    }

    /// Copies what a pass reports.
    fn copy_reported(&self, encoder: &mut wgpu::CommandEncoder, readback: &Readback) {
        self.pass.copy_output(encoder, "loss", readback, 0);
        let mut at = SCALAR_BYTES;
        for scalar in &self.reported {
            self.pass.copy_output(encoder, scalar.name, readback, at);
            at += scalar.len as u64 * 4;
        }
    }

    /// Steps submitted whose results were not taken yet.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Waits for the oldest step in flight and returns its results; of several processes, loss and scalars are this one's
    /// part of the average, and what follows from the gradients is that of all. Panics when none is, a programming error.
    pub async fn take(&mut self) -> Result<StepResult> {
        let InFlight { readbacks, settings, scalars, began } = self.pending.pop_front().expect("a step in flight");
        let mut result = StepResult::default();
        let count = (readbacks.len() * self.options.ranks) as f64;
        let mut values: Vec<f32> = Vec::new();
        for readback in &readbacks {
            values = bytemuck::pod_collect_to_vec(&readback.take(&self.device).await?);
            result.loss += f64::from(values[0]) / count;
            let mut rest = &values[(SCALAR_BYTES / 4) as usize..];
            for scalar in &self.reported {
                let own = rest.split_off(..scalar.len).expect("every scalar was copied");
                // As f32: sums of some are exact then, and the same in any order.
                result.scalars.add(scalar.name, f64::from((scalar.read)(own) as f32) / count);
            }
        }
        result.gradient_norm = f64::from(values[4]).sqrt();
        result.not_finite = values[5] as u64;
        result.refused = settings.refuse(values[4], result.not_finite);
        result.loss_scale = self.loss_scale_group().map(|_| 1.0 / f64::from(values[6]));
        scalars.iter().for_each(|(name, value)| result.scalars.add(name.to_owned(), value));
        if let Some(average) = self.average {
            result.scalars.add(average.drift, (f64::from(values[8]) / f64::from(values[9])).sqrt());
        }
        // Whatever was in flight before it counts too: rather too slow than too fast.
        let slowest = readbacks.len() as f64 * self.pass.seconds() + self.update.seconds();
        self.device.learn_speed(slowest, began.elapsed().as_secs_f64());
        self.idle.push(readbacks);
        Ok(result)
    }
}
