//! `bootmae verify`: an adapter, or the processor, against a float64 reference.

use std::path::PathBuf;

use clap::Args;

use super::arguments::AdapterArguments;
use super::terminal::outln;
use crate::{
    check::{classify, verify},
    checkpoint::what_it_is,
    error::{Error, Result},
    formats::tensors,
    kernels::Tuning,
    lower::Precision,
};

/// Run a fixture (one step, a trajectory of steps, or classifiers on features) and compare losses, outputs, gradients and
/// updated weights, or predictions.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A fixture in safetensors, e.g. tests/fixtures/step_tiny.safetensors.
    fixture: PathBuf,
    #[command(flatten)]
    adapter: AdapterArguments,
    /// In what precision weights and activations are multiplied and kept; f16 has bars of its own.
    #[arg(long, value_name = "f32|f16", default_value_t)]
    precision: Precision,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// `Ok(false)` when a group is outside its bar.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let path = &arguments.fixture;
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    if let Some(what) = what_it_is(&bytes) {
        return Err(Error::checkpoint(path, format!("no safetensors but {what}")));
    }
    let file = tensors::parse(&bytes).map_err(|reason| Error::checkpoint(path, reason))?;
    let report = match classify::verify(&file) {
        Some(report) => report,
        None => {
            let device = arguments.adapter.open()?;
            let tuning = Tuning::for_device(&device);
            pollster::block_on(verify::verify(device, tuning, arguments.precision, &file))
        }
    };
    let report = report.map_err(|error| match error {
        Error::Checkpoint { reason, .. } => Error::checkpoint(path, reason),
        other => other,
    })?;
    if arguments.json {
        outln!("{}", serde_json::to_string_pretty(&report).expect("a report is JSON"));
        return Ok(report.pass);
    }
    outln!("{} on {}", report.kind, report.adapter);
    for (name, group) in &report.groups {
        let mark = if group.pass { "ok    " } else { "FAILED" };
        outln!("  {mark} {name:<14} worst {:.2e} of {:.0e} allowed, in {}", group.worst, group.bar, group.tensor);
    }
    Ok(report.pass)
}
