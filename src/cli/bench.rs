//! `bootmae bench`: how fast a training step is.

use std::{path::PathBuf, time::Instant};

use clap::Args;

use super::terminal::{self, errln, outln};
use super::{
    arguments::{AdapterArguments, ModelArguments},
    numbers::whole,
    output::Output,
    tuning::TuningArguments,
};
use crate::{
    device::Device,
    error::{Error, Result},
    kernels::{Tuning, Work},
    lower::{Precision, Recompute},
    model::ClassifierConfig,
    train::{
        Clock, TrainerOptions,
        bench::{Bench, Exchange, Workload, bench},
        config::resolve,
        profile, tune, work,
    },
};

/// Time training steps on random images, beside the adapter's best matmul.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Time fine-tuning a classifier of this many classes, instead of pretraining.
    #[arg(long, value_name = "N", value_parser = whole::<u32>(2, 1 << 20))]
    classes: Option<u32>,
    /// Images of a step.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = whole::<u32>(1, 1 << 20))]
    batch_size: u32,
    /// Steps timed, after one that warms up.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = whole::<u32>(1, 1 << 20))]
    steps: u32,
    #[command(flatten)]
    adapter: AdapterArguments,
    #[command(flatten)]
    tuning: TuningArguments,
    /// Measure kernel variants afresh, whatever earlier measurements said.
    #[arg(long, conflicts_with = "no_tune")]
    tune: bool,
    /// What the backward pass computes again instead of holding it: none, attention or blocks.
    #[arg(long, value_name = "WHAT", default_value_t)]
    recompute: Recompute,
    /// In what precision weights and activations are multiplied and kept: f32, or f16 with sums in f32.
    #[arg(long, value_name = "f32|f16", default_value_t)]
    precision: Precision,
    /// Compare the chosen kernel variants with all others at every shape of the step, in place of timing steps.
    #[arg(long, conflicts_with_all = ["profile", "trace", "json"])]
    candidates: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Add how long the gradients take from the GPU to main memory and back, as training over several processes moves them.
    #[arg(long, conflicts_with = "candidates")]
    exchange: bool,
    /// Add the time and rate of each kernel, beside the adapter's best.
    #[arg(long)]
    profile: bool,
    /// Write when each dispatch of a step ran, for chrome://tracing or Perfetto.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// Measures and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    let flags = toml::Table::from_iter([("model".to_string(), arguments.model.table().into())]);
    let model = resolve(Some(arguments.model.model.as_deref().unwrap_or("tiny")), None, flags)?.model;
    let workload = Workload { model, classifier: arguments.classes.map(classifier) };
    let trace = arguments.trace.as_deref().map(|path| Output::new("--trace", path, &[])).transpose()?;
    let device = arguments.adapter.open()?;
    arguments.adapter.remark(&device).iter().for_each(|line| errln!("{line}"));
    if arguments.trace.is_some() && !device.has_timestamps() {
        let adapter = &device.adapter().name;
        return Err(Error::Gpu(format!("--trace needs timestamps, which {adapter} does not have")));
    }
    let began = Instant::now();
    let clock = || began.elapsed().as_secs_f64();
    let (batch, steps) = (arguments.batch_size as usize, arguments.steps as usize);
    let timed = arguments.profile || arguments.trace.is_some();
    let (recompute, precision) = (arguments.recompute, arguments.precision);
    let work = work(&device, &*workload.task(), batch, precision);
    let tuning = arguments.tuning.settle(&device, work.clone(), precision, arguments.tune)?;
    if arguments.candidates {
        return pollster::block_on(compare(&device, work, &tuning, &clock));
    }
    let options = TrainerOptions { recompute, precision, ..TrainerOptions::new(batch, 1, tuning) };
    let result = pollster::block_on(bench(device, &workload, options, steps, (timed, arguments.exchange), &clock))?;
    if arguments.json {
        outln!("{}", serde_json::to_string_pretty(&result).expect("a result is JSON"));
    } else {
        print(&result, arguments.profile);
    }
    if let (Some(out), Some(path)) = (trace, &arguments.trace) {
        let trace = profile::trace(&result.adapter, &result.timed);
        out.write(|to| serde_json::to_writer(to, &trace).map_err(Into::into))?;
        errln!("trace: {}", path.display());
    }
    Ok(())
}

/// A classifier of so many classes, as the papers fine-tune it, on the mean of the patch tokens.
pub(super) fn classifier(classes: u32) -> ClassifierConfig {
    let classes = (0..classes).map(|class| class.to_string()).collect();
    ClassifierConfig { classes, drop_path: 0.1, ..ClassifierConfig::default() }
}

/// Prints the rate of every variant for each computation of a step.
async fn compare(device: &Device, work: Vec<Work>, tuning: &Tuning, clock: Clock<'_>) -> Result<()> {
    outln!("adapter  {}", device.adapter());
    let mut shares = Vec::new();
    tune::compare(device, work, tuning, clock, |compared| {
        if terminal::reader_is_gone() {
            std::process::exit(0);
        }
        outln!("{}: {:.0} % of the best", compared.work, compared.share() * 100.0);
        for (variant, rate) in &compared.rates {
            let mark = if *variant == compared.chosen { "chosen" } else { "" };
            outln!("  {:<40} {rate:8.2} GFLOP/s  {mark}", variant.to_string());
        }
        shares.push(compared.share());
    })
    .await?;
    let near = shares.iter().filter(|share| **share >= 0.95).count();
    outln!("the chosen variant is within 5 % of the best for {near} of {} computations", shares.len());
    Ok(())
}

fn print(result: &Bench, profile: bool) {
    outln!("adapter           {}", result.adapter);
    outln!("step              {:.1} ms, {} images", result.step_ms, result.batch_size);
    outln!("host              {:.2} ms a step to record and submit {} dispatches", result.host_ms, result.dispatches);
    outln!("rate              {:.2} images/s, {:.2} GFLOP/s", result.images_per_s, result.gflops);
    outln!("precision         {}", result.precision);
    outln!(
        "matmul    {:.2} GFLOP/s at best, {:.2} with one output an invocation",
        result.best_matmul_gflops,
        result.naive_matmul_gflops
    );
    outln!("copy              {:.2} GB/s at best, read and written", result.best_copy_gbs);
    outln!("step / matmul    {:.0} %", result.share_of_best_matmul * 100.0);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    outln!(
        "GPU memory        {:.1} MiB, at least {:.1} needed; computed again: {}",
        mib(result.peak_bytes),
        mib(result.least_bytes),
        result.recompute
    );
    if let Some(Exchange { bytes, out_ms, back_ms, gbs }) = result.exchange {
        let (share, bytes) = ((out_ms + back_ms) / result.step_ms * 100.0, bytes as f64 / 1e6);
        outln!(
            "exchange          {bytes:.1} MB of gradients: {out_ms:.2} ms out, {back_ms:.2} ms back, {gbs:.1} GB/s, {share:.1} % of a step"
        );
    }
    if profile {
        print_profile(result);
    }
}

fn print_profile(result: &Bench) {
    if result.profile.is_empty() {
        outln!("no profile: the adapter has no timestamps");
        return;
    }
    let total: f64 = result.profile.iter().map(|k| k.ms).sum();
    outln!("profile           {total:.1} ms in all kernels of a step, each dispatch in a pass of its own");
    outln!("{:<48} {:>5} {:>10} {:>7} {:>18} {:>15}", "kernel", "calls", "ms", "share", "rate", "of the best");
    for k in &result.profile {
        let (rate, unit, best) =
            if k.gflops > 0.0 { (k.gflops, "GFLOP/s", "matmul") } else { (k.gbs, "GB/s   ", "copy   ") };
        let (share, of_best) = (k.share * 100.0, k.share_of_best * 100.0);
        outln!("{:<48} {:5} {:10.2} {share:5.1} % {rate:10.2} {unit} {of_best:5.0} % {best}", k.kernel, k.calls, k.ms);
    }
}
