//! `bootmae bench`: how fast a training step is.

use std::time::Instant;

use clap::Args;

use super::{AdapterArguments, ModelArguments};
use crate::{error::Result, train::bench::bench, train::config::resolve};

/// Time training steps on random images, beside the adapter's best matrix product.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Images of a step.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Steps timed, after one that warms up.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    #[command(flatten)]
    adapter: AdapterArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Add the time of each kernel.
    #[arg(long)]
    profile: bool,
}

/// Measures and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    let flags = toml::Table::from_iter([("model".to_string(), arguments.model.table().into())]);
    let config = resolve(Some(arguments.model.model.as_deref().unwrap_or("tiny")), None, flags)?.model;
    let device = arguments.adapter.open()?;
    let began = Instant::now();
    let clock = || began.elapsed().as_secs_f64();
    let (batch, steps) = (arguments.batch_size as usize, arguments.steps as usize);
    let result = pollster::block_on(bench(device, &config, batch, steps, arguments.profile, &clock))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&result).expect("a result is JSON"));
        return Ok(());
    }
    println!("adapter           {}", result.adapter);
    println!("step              {:.1} ms, {} images, {} dispatches", result.step_ms, batch, result.dispatches);
    println!("rate              {:.2} images/s, {:.2} GFLOP/s", result.images_per_s, result.gflops);
    println!(
        "matrix product    {:.2} GFLOP/s at best, {:.2} with one output an invocation",
        result.best_product_gflops, result.plain_product_gflops
    );
    println!("step / product    {:.0} %", result.share_of_best_product * 100.0);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("GPU memory        {:.1} MiB, at least {:.1} needed", mib(result.peak_bytes), mib(result.least_bytes));
    if arguments.profile && result.profile.is_empty() {
        println!("no profile: the adapter has no timestamps");
    }
    for k in &result.profile {
        let rate = if k.gflops > 0.0 { format!("{:8.2} GFLOP/s", k.gflops) } else { String::new() };
        println!("{:<48} {:5} calls {:9.2} ms {:5.1} % {rate}", k.kernel, k.calls, k.ms, k.share * 100.0);
    }
    Ok(())
}
