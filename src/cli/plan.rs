//! `bootmae plan`: what training needs of a GPU's memory, before anything is allocated, and how several processes should
//! fare.

use clap::Args;
use serde::Serialize;

use super::terminal::outln;
use super::{
    arguments::{AdapterArguments, ModelArguments},
    bench::classifier,
    numbers::{MOST, whole},
    prediction::{self, Prediction, RanksArguments},
};
use crate::{
    error::Result,
    lower::{Precision, Recompute},
    model::config::PRESETS,
    nn::Param,
    train::{
        bench::Workload,
        config::{Passes, Reduction, resolve},
        memory::{Fit, Footprint, fit, footprint, mib, usable_bytes},
    },
};

/// Print the GPU memory that each preset needs, and the largest micro-batch that fits the adapter; with --ranks also how
/// long an update of several processes should take.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Plan for fine-tuning a classifier of this many classes, instead of pretraining.
    #[arg(long, value_name = "N", value_parser = whole::<u32>(2, 1 << 20))]
    classes: Option<u32>,
    /// Images of an update.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<u32>(1, 1 << 20))]
    batch_size: u32,
    /// What the backward pass computes again instead of holding it: none, attention or blocks.
    #[arg(long, value_name = "WHAT", default_value_t)]
    recompute: Recompute,
    /// In what precision weights and activations are multiplied and kept: f32, or f16 with sums in f32.
    #[arg(long, value_name = "f32|f16", default_value_t)]
    precision: Precision,
    /// Plan for this much GPU memory instead of what the adapter has.
    #[arg(long, value_name = "MIB", value_parser = whole::<u64>(1, MOST >> 20))]
    gpu_memory_mib: Option<u64>,
    #[command(flatten)]
    ranks: RanksArguments,
    #[command(flatten)]
    adapter: AdapterArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    adapter: String,
    memory_bytes: Option<u64>,
    usable_bytes: Option<u64>,
    batch_size: usize,
    presets: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    predicted: Vec<Prediction>,
}

#[derive(Serialize)]
struct Row {
    preset: String,
    parameters: usize,
    /// With one micro-batch; none where the device's limits forbid it.
    whole: Option<Footprint>,
    fit: Option<Fit>,
    /// Why nothing fits.
    reason: Option<String>,
}

/// Plans and prints; `Ok(false)` when a preset that was asked for does not fit.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let device = arguments.adapter.open()?;
    let usable = usable_bytes(&device, arguments.gpu_memory_mib.map(|mib| mib << 20));
    let Arguments { batch_size, recompute, precision, .. } = *arguments;
    let batch = batch_size as usize;
    let passes = Passes { batch, micro_batches: 1, reduction: Reduction::Sequence, recompute, precision };
    let presets = match &arguments.model.model {
        Some(preset) => vec![preset.as_str()],
        None => PRESETS.to_vec(),
    };
    let row = |preset: &str| -> Result<Row> {
        let flags = toml::Table::from_iter([("model".to_string(), arguments.model.table().into())]);
        let model = resolve(Some(preset), None, flags)?.model;
        let task = Workload { model, classifier: arguments.classes.map(classifier) }.task();
        let whole = footprint(&device, &*task, passes).ok();
        let (fit, reason) = match fit(&device, &*task, passes, usable) {
            Ok(fit) => (Some(fit), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let parameters = task.parameters().iter().map(Param::len).sum();
        Ok(Row { preset: preset.into(), parameters, whole, fit, reason })
    };
    let presets = presets.into_iter().map(row).collect::<Result<Vec<_>>>()?;
    let report = Report {
        adapter: device.adapter().name.clone(),
        memory_bytes: device.adapter().memory_bytes,
        usable_bytes: usable,
        batch_size: batch,
        predicted: presets
            .first()
            .map_or_else(|| Ok(Vec::new()), |row| arguments.ranks.predict(row.parameters, batch))?,
        presets,
    };
    let fits = arguments.model.model.is_none() || report.presets.iter().all(|row| row.fit.is_some());
    if arguments.json {
        outln!("{}", serde_json::to_string_pretty(&report).expect("a report is JSON"));
    } else {
        print(&report);
        if !report.predicted.is_empty() {
            prediction::print(&report.predicted);
        }
    }
    Ok(fits)
}

fn print(report: &Report) {
    let known = |bytes: Option<u64>| bytes.map_or("unknown".into(), mib);
    outln!("GPU memory  {}, of which a run plans for {}", known(report.memory_bytes), known(report.usable_bytes));
    outln!("batch       {} images\n", report.batch_size);
    outln!("preset    whole batch   weights and state   largest micro-batch that fits");
    for row in &report.presets {
        let whole = row.whole.map_or("over a limit".into(), |needs| mib(needs.total()));
        let (state, found) = match (&row.fit, &row.reason) {
            (Some(Fit { micro_batch, micro_batches, footprint }), _) => (
                mib(footprint.state),
                format!("{micro_batch}, {micro_batches} an update: {} altogether", mib(footprint.total())),
            ),
            (None, reason) => (String::new(), format!("none: {}", reason.as_deref().unwrap_or_default())),
        };
        outln!("{:<8}  {whole:>11}   {state:>17}   {found}", row.preset);
    }
}
