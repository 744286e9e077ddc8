//! `bootmae verify`: an adapter, or the processor, against a float64 reference.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    arguments::AdapterArguments,
    numbers::{MOST, whole},
    terminal::{errln, outln},
};
use crate::{
    check::{
        classify,
        compare::Report,
        interop::{self, Sample},
        verify,
    },
    checkpoint::what_it_is,
    error::{Error, Result},
    formats::tensors::{self, TensorFile},
    interop::open,
    kernels::Tuning,
    lower::Precision,
    text::shown,
};

/// Run a fixture (one step, a trajectory of steps, classifiers on features, or a checkpoint of another program that lies
/// beside it) and compare losses, outputs, gradients and updated weights, features or predictions.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A fixture in safetensors, e.g. tests/fixtures/step_tiny.safetensors.
    fixture: PathBuf,
    #[command(flatten)]
    adapter: AdapterArguments,
    /// In what precision weights and activations are multiplied and kept; f16 has bars of its own.
    #[arg(long, value_name = "f32|f16", default_value_t)]
    precision: Precision,
    /// Attention heads of the encoder, of a checkpoint of another program that does not say.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST))]
    heads: Option<usize>,
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
    let report = match (classify::verify(&file), Sample::of(&file)) {
        (Some(report), _) => report,
        (None, Some(sample)) => sample.and_then(|sample| arguments.checkpoint(sample, &file)),
        (None, None) => {
            let device = arguments.adapter.open()?;
            let tuning = Tuning::for_device(&device);
            pollster::block_on(verify::verify(device, tuning, arguments.precision, &file))
        }
    };
    let report = report.map_err(|error| match error {
        Error::Checkpoint { path: of, reason } if of == Path::new("fixture") => Error::checkpoint(path, reason),
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

impl Arguments {
    /// Compares a checkpoint of another program with the fixture beside it.
    fn checkpoint(&self, mut sample: Sample, file: &TensorFile) -> Result<Report> {
        let folder = self.fixture.parent().unwrap_or(Path::new("."));
        let listed = || heads(&folder.join("manifest.json"), &sample.file);
        sample.asked.heads = self.heads.or(sample.asked.heads).or_else(listed);
        let path = folder.join(&sample.file);
        let imported = open(&path, &sample.asked)?;
        imported.notes.iter().for_each(|note| errln!("{}: {note}", shown(&sample.file)));
        let verified = interop::verify(self.adapter.open()?, self.precision, file, &imported.model);
        pollster::block_on(verified).map(|(report, _)| report)
    }
}

/// The attention heads that a list of samples, by their names, has for one.
fn heads(list: &Path, sample: &str) -> Option<usize> {
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(list).ok()?).ok()?;
    list.get(sample)?.get("heads")?.as_u64()?.try_into().ok()
}
