//! How fast a training step is on an adapter, beside the best matrix product found there.

use serde::Serialize;

use super::{
    MicroBatch, Trainer, TrainerOptions,
    profile::{self, KernelTime, Timed},
};
use crate::{
    device::Device,
    error::Result,
    graph::{Arenas, Executor, Fetch, Graph, Plan, PlanOptions, TensorType},
    model::{ModelConfig, masking},
    ops::{Form, Product, Settings, Tile, Tuning},
    rng::{Rng, Stream},
};

/// A clock in seconds; the browser's and the system's differ.
pub type Clock<'a> = &'a dyn Fn() -> f64;

/// What a benchmark measured.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// The adapter.
    pub adapter: String,
    /// Images of a step.
    pub batch_size: usize,
    /// Median time of a step in milliseconds, from writing its inputs to reading its losses.
    pub step_ms: f64,
    /// Median time of the host's part of a step in milliseconds: writing inputs, recording and submitting.
    pub host_ms: f64,
    /// Images a second at the median.
    pub images_per_s: f64,
    /// Rate of the published computation (see [`ModelConfig::step_flops`]), GFLOP/s.
    pub gflops: f64,
    /// Rate of the best matrix product found, over tiles and the step's largest shapes, GFLOP/s.
    pub best_product_gflops: f64,
    /// Rate of the best large copy, GB/s read and written.
    pub best_copy_gbs: f64,
    /// Rate of the product that computes one output an invocation, at 256³, GFLOP/s.
    pub plain_product_gflops: f64,
    /// The step's rate over the best product's.
    pub share_of_best_product: f64,
    /// GPU memory held, in bytes.
    pub peak_bytes: u64,
    /// The least that a plan of this step could hold, in bytes.
    pub least_bytes: u64,
    /// Dispatches of a step.
    pub dispatches: usize,
    /// Time per kernel of a profiled step, the longest first; empty unless asked for or without timestamps.
    pub profile: Vec<KernelTime>,
    /// The dispatches that `profile` adds up, in order.
    #[serde(skip)]
    pub timed: Vec<Timed>,
}

/// Times `steps` steps of `config` on random images after one that compiles and warms up.
pub async fn bench(
    device: Device,
    config: &ModelConfig,
    batch: usize,
    steps: usize,
    profile: bool,
    clock: Clock<'_>,
) -> Result<Bench> {
    let tuning = Tuning::for_device(&device);
    let options = TrainerOptions { micro_batch: batch, micro_batches: 1, tuning, inspect: false, no_fusion: false };
    let mut trainer = Trainer::new(device, config, options).await?;
    trainer.initialise(0);
    let mut rng = Rng::new(0, Stream::Augment, 0, 0);
    let pixels = config.channels * config.image_height * config.image_width;
    let images: Vec<f32> = (0..batch * pixels).map(|_| rng.range(-1.0, 1.0) as f32).collect();
    let order: Vec<u32> = (0..batch).flat_map(|_| masking::patch_order(config, &mut rng, 0)).collect();
    let weights: Vec<f32> = order.chunks(config.patches()).flat_map(|row| masking::loss_weights(config, row)).collect();
    let micro = MicroBatch { images: &images, order: &order, loss_weights: &weights };
    let (mut times, mut host) = (Vec::new(), Vec::new());
    for t in 0..=steps.max(1) {
        let began = clock();
        trainer.step(&[micro], 1.0, Settings::new(t as u64 + 1, 1e-4, 0.05, (0.9, 0.95), 1e-8, 0.999));
        let submitted = clock();
        trainer.take().await?;
        if t > 0 {
            host.push(submitted - began);
            times.push(clock() - began);
        }
    }
    let seconds = median(times);
    let gflops = config.step_flops() * batch as f64 / seconds / 1e9;
    let plans = [trainer.pass(), trainer.update()];
    let timed = if profile { profile::time_dispatches(trainer.device(), &plans).await? } else { None };
    let timed = timed.unwrap_or_default();
    let best = best_product(trainer.device(), config, batch, clock).await?;
    let copy = profile::copy_rate(trainer.device(), clock).await?;
    let plain = product_rate(trainer.device(), Tile::Plain, Form::Nt, (256, 256, 256), clock).await?;
    Ok(Bench {
        adapter: trainer.device().adapter().name.clone(),
        batch_size: batch,
        step_ms: seconds * 1e3,
        host_ms: median(host) * 1e3,
        images_per_s: batch as f64 / seconds,
        gflops,
        best_product_gflops: best,
        best_copy_gbs: copy,
        plain_product_gflops: plain,
        share_of_best_product: gflops / best,
        peak_bytes: trainer.gpu_bytes(),
        least_bytes: trainer.least_bytes(),
        dispatches: plans.iter().map(|e| e.plan().dispatches.len()).sum(),
        profile: profile::by_kernel(&timed, profile::Best { product_gflops: best, copy_gbs: copy }),
        timed,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The best rate over tiles at the shapes of the step's largest products, GFLOP/s.
async fn best_product(device: &Device, config: &ModelConfig, batch: usize, clock: Clock<'_>) -> Result<f64> {
    let (w, hidden) = (config.width, config.mlp_ratio * config.width);
    let rows = (batch * (config.patches() + 1)).min(4096);
    let shapes = [
        (Form::Nt, (rows, hidden, w)),
        (Form::Nt, (rows, w, hidden)),
        (Form::Nn, (rows, hidden, w)),
        (Form::Tn, (hidden, w, rows)),
        (Form::Nt, (512, 512, 512)),
    ];
    let mut tiles = vec![Tuning::for_device(device).product, Tile::default()];
    tiles.push(Tile::Register { rows: 4, cols: 4, group_rows: 8, group_cols: 8 });
    if let Tile::Pairs { lanes, .. } = tiles[0] {
        tiles.push(Tile::Pairs { lanes, rows: 32 / lanes, cols: 8 });
        tiles.push(Tile::Subgroup { lanes, rows: 64 / lanes, cols: 4 });
    }
    if let Tile::Subgroup { lanes, .. } = tiles[0] {
        tiles.extend([(32, 4), (64, 4), (32, 8)].map(|(rows, cols)| Tile::Subgroup {
            lanes,
            rows: rows / lanes,
            cols,
        }));
    }
    let mut best: f64 = 0.0;
    for tile in tiles {
        for (form, shape) in shapes {
            best = best.max(product_rate(device, tile, form, shape, clock).await?);
        }
    }
    Ok(best)
}

/// GFLOP/s of one product `m × n × k`, the better of two runs after one that warms up.
async fn product_rate(
    device: &Device,
    tile: Tile,
    form: Form,
    (m, n, k): (usize, usize, usize),
    clock: Clock<'_>,
) -> Result<f64> {
    let graph = Graph::new();
    let (a, b) = match form {
        Form::Nt => ([m, k], [n, k]),
        Form::Nn => ([m, k], [k, n]),
        Form::Tn => ([k, m], [k, n]),
    };
    let (a_type, b_type) = (TensorType::f32(&a), TensorType::f32(&b));
    let y = Product::of(form, graph.input("a", a_type.clone()), graph.input("b", b_type.clone()));
    let corner = y.reshape(&[m * n]).then(crate::ops::SliceVector { first: 0, len: 1 }, &[]);
    let options = PlanOptions { tuning: Tuning { product: tile, ..Tuning::for_device(device) }, ..Default::default() };
    let plan = Plan::new(&graph, &[Fetch::new("corner", corner)], &options);
    let executor = Executor::new(device, plan, &Arenas::default()).await?;
    let ramp = |len: usize| (0..len).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect::<Vec<f32>>();
    executor.write(device, "a", bytemuck::cast_slice(&ramp(a_type.len())));
    executor.write(device, "b", bytemuck::cast_slice(&ramp(b_type.len())));
    Ok(2.0 * m as f64 * n as f64 * k as f64 / best_run(device, &executor, "corner", clock).await? / 1e9)
}

/// Seconds of the better of two runs after one that warms up; a run ends when its output can be read.
pub(super) async fn best_run(device: &Device, executor: &Executor, output: &str, clock: Clock<'_>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for run in 0..3 {
        let began = clock();
        executor.run(device);
        executor.read(device, output).await?;
        if run > 0 {
            best = best.min(clock() - began);
        }
    }
    Ok(best)
}
