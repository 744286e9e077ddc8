//! How fast a training step is on an adapter, beside the best matmul found there.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Clock, Trainer, TrainerOptions,
    profile::{self, KernelTime, Timed},
    tune, work,
};
use crate::{
    device::{Device, Readback},
    error::Result,
    kernels::{Tuning, Work},
    lower::{Precision, Recompute},
    model::{ClassifierConfig, ModelConfig},
    ops::Settings,
    rng::{Rng, Stream},
    tasks::{Classify, MicroBatch, Pretrain, Task},
};

/// What a benchmark measured.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// The adapter.
    pub adapter: String,
    /// Images of a step.
    pub batch_size: usize,
    /// Median time of a step in milliseconds. On a GPU from one step's losses to the next's, each submitted before the last
    /// one's losses are read, as training does; on a software adapter, where a submit waits for the one before, from writing
    /// a step's inputs to reading its losses.
    pub step_ms: f64,
    /// Median time of the host's part of a step in milliseconds: writing inputs, recording and submitting.
    pub host_ms: f64,
    /// Images a second at the median.
    pub images_per_s: f64,
    /// Rate of the published computation (see [`Workload::flops`]), GFLOP/s.
    pub gflops: f64,
    /// Rate of the best matmul found, over all tiles and the step's largest matmul of each class, GFLOP/s.
    pub best_matmul_gflops: f64,
    /// Rate of the best large copy, GB/s read and written.
    pub best_copy_gbs: f64,
    /// Rate of the matmul that computes one output an invocation, at 256³, GFLOP/s.
    pub naive_matmul_gflops: f64,
    /// The step's rate over the best matmul's.
    pub share_of_best_matmul: f64,
    /// GPU memory held, in bytes.
    pub peak_bytes: u64,
    /// The least that a plan of this step could hold, in bytes.
    pub least_bytes: u64,
    /// What the backward pass computed again.
    pub recompute: Recompute,
    /// In what precision matmuls read their operands.
    pub precision: Precision,
    /// What an exchange of gradients with other processes costs here, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange>,
    /// Dispatches of a step.
    pub dispatches: usize,
    /// The kernel variants of the step.
    pub tuning: Tuning,
    /// Time per kernel of a profiled step, the longest first; empty unless asked for or without timestamps.
    pub profile: Vec<KernelTime>,
    /// The dispatches that `profile` adds up, in order.
    #[serde(skip)]
    pub timed: Vec<Timed>,
}

/// The copies that an exchange of gradients needs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Exchange {
    /// Bytes of the gradient.
    pub bytes: u64,
    /// Median time in milliseconds until all of it is in main memory.
    pub out_ms: f64,
    /// Median time in milliseconds until all of it is back.
    pub back_ms: f64,
    /// Bytes a second of both together, GB/s.
    pub gbs: f64,
}

/// A training step to time.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The network.
    pub model: ModelConfig,
    /// The classifier on it, to time fine-tuning instead of pretraining.
    pub classifier: Option<ClassifierConfig>,
}

impl Workload {
    /// The task.
    pub fn task(&self) -> Arc<dyn Task> {
        match &self.classifier {
            Some(classifier) => Arc::new(Classify::of(&self.model, classifier)),
            None => Arc::new(Pretrain::of(&self.model)),
        }
    }

    /// Floating-point operations of a step per image, as published.
    pub fn flops(&self) -> f64 {
        self.classifier.as_ref().map_or(self.model.step_flops(), |classifier| classifier.step_flops(&self.model))
    }
}

/// Times `steps` steps, of one micro-batch each, on random images after one that compiles and warms up; where it is asked for,
/// also each kernel (`profile`) and the copies of an exchange (`exchanges`).
pub async fn bench(
    device: Device,
    workload: &Workload,
    options: TrainerOptions,
    steps: usize,
    (profile, exchanges): (bool, bool),
    clock: Clock<'_>,
) -> Result<Bench> {
    let TrainerOptions { micro_batch: batch, tuning, recompute, precision, .. } = options.clone();
    let (config, task) = (&workload.model, workload.task());
    let mut trainer = Trainer::new(device, task.clone(), options).await?;
    trainer.initialise(0);
    let mut rng = Rng::new(0, Stream::Augment, 0, 0);
    let pixels = config.channels * config.image_height * config.image_width;
    let images: Vec<f32> = (0..batch * pixels).map(|_| rng.range(-1.0, 1.0) as f32).collect();
    let samples: Vec<(u64, usize)> = (0..batch).map(|image| (0, image)).collect();
    let shown: Vec<usize> = (0..batch).collect();
    let classes = workload.classifier.as_ref().map_or(0, |classifier| classifier.classes.len());
    // Each image is of the first class.
    let prepared: Vec<f32> = (0..batch * classes).map(|at| f32::from(u8::from(at % classes == 0))).collect();
    let micro_batch = MicroBatch { images: &images, samples: &samples, shown: &shown, prepared: &prepared };
    let inputs = [task.inputs(0, &micro_batch)];
    let (mut times, mut host) = (Vec::new(), Vec::new());
    let ahead = usize::from(!trainer.device().is_software());
    let mut last = clock();
    for t in 0..=steps.max(1) + ahead {
        let began = clock();
        trainer.step(&inputs, Settings::new(t as u64 + 1, 1e-4, 0.05, (0.9, 0.95), 1e-8, 0.999));
        let submitted = clock();
        if trainer.in_flight() > ahead {
            trainer.take().await?;
            if t > ahead {
                host.push(submitted - began);
                times.push(clock() - last);
            }
            last = clock();
        }
    }
    while trainer.in_flight() > 0 {
        trainer.take().await?;
    }
    let seconds = median(times);
    let gflops = workload.flops() * batch as f64 / seconds / 1e9;
    let exchange = if exchanges { Some(exchange(&trainer, clock).await?) } else { None };
    let plans = [trainer.pass(), trainer.update()];
    let timed = if profile { profile::time_dispatches(trainer.device(), &plans).await? } else { None };
    let timed = timed.unwrap_or_default();
    let best = best_matmul(trainer.device(), work(trainer.device(), &*task, batch, precision), clock).await?;
    let copy = profile::copy_rate(trainer.device(), clock).await?;
    let plain = tune::naive_matmul(trainer.device(), clock).await?;
    Ok(Bench {
        adapter: trainer.device().adapter().name.clone(),
        batch_size: batch,
        step_ms: seconds * 1e3,
        host_ms: median(host) * 1e3,
        images_per_s: batch as f64 / seconds,
        gflops,
        best_matmul_gflops: best,
        best_copy_gbs: copy,
        naive_matmul_gflops: plain,
        share_of_best_matmul: gflops / best,
        peak_bytes: trainer.gpu_bytes(),
        least_bytes: trainer.least_bytes(),
        recompute,
        precision,
        exchange,
        dispatches: plans.iter().map(|e| e.plan().dispatches.len()).sum(),
        tuning,
        profile: profile::by_kernel(&timed, profile::Best { matmul_gflops: best, copy_gbs: copy }),
        timed,
    })
}

/// Times copies of the gradients out of the GPU and back.
async fn exchange(trainer: &Trainer, clock: Clock<'_>) -> Result<Exchange> {
    const TIMES: usize = 7;
    let (device, arenas, arena) = (trainer.device(), trainer.arenas(), trainer.gradients());
    let shards = 0..trainer.layout().shards.len();
    let (mut out, mut back, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..TIMES {
        let began = clock();
        let copies: Vec<_> = shards.clone().map(|shard| arenas.copy(device, arena, shard)).collect();
        let mut values = Vec::new();
        for copy in copies {
            values.push(copy.take(device).await?);
        }
        let there = clock();
        values.iter().enumerate().for_each(|(shard, values)| arenas.write(device, arena, shard, 0, values));
        // Behind everything that was submitted.
        let end = Readback::new(device, "end", 4);
        end.submit(device, device.raw.create_command_encoder(&Default::default()));
        end.take(device).await?;
        out.push(there - began);
        back.push(clock() - there);
        bytes = values.iter().map(|values| values.len() as u64).sum();
    }
    let (out, back) = (median(out), median(back));
    Ok(Exchange { bytes, out_ms: out * 1e3, back_ms: back * 1e3, gbs: 2.0 * bytes as f64 / (out + back) / 1e9 })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The best rate over all candidates at the step's largest matmul of each class, GFLOP/s.
async fn best_matmul(device: &Device, work: Vec<Work>, clock: Clock<'_>) -> Result<f64> {
    let matmuls = |one: &Work| matches!(one, Work::Matmul { .. });
    let needs = tune::classes(work.into_iter().filter(matmuls).collect());
    let mut best: f64 = 0.0;
    let mut tuning = Tuning::for_device(device);
    tune::tune(device, &needs, &mut tuning, f64::INFINITY, clock, |choice| best = best.max(choice.gflops)).await?;
    Ok(best)
}
