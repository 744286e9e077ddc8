//! `bootmae doctor`: what adapters there are and whether they compute rightly.

use clap::Args;
use serde::Serialize;

use super::terminal::{errln, outln};
use crate::{
    check::self_test::{Outcome, self_test},
    device::{AdapterSummary, Device, DeviceOptions, adapters},
    error::{Error, Result},
    kernels::Tuning,
};

/// List adapters with their limits and features, and test every operation on them against a float64 oracle.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Test only the adapter with this in its name, or with this index.
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    pass: bool,
    adapters: Vec<Tested>,
}

#[derive(Serialize)]
struct Tested {
    index: usize,
    #[serde(flatten)]
    summary: AdapterSummary,
    pass: bool,
    error: Option<String>,
    operations: Vec<Outcome>,
}

/// `Ok(false)` when an operation on a tested adapter disagrees.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let all = pollster::block_on(adapters());
    let wanted =
        |index: usize, a: &AdapterSummary| arguments.adapter.as_ref().is_none_or(|text| a.matches(index, text));
    let chosen: Vec<_> = all.iter().enumerate().filter(|(index, a)| wanted(*index, a)).collect();
    if chosen.is_empty() {
        // The same message as for every other verb.
        let options = DeviceOptions { adapter: arguments.adapter.clone(), ..Default::default() };
        return Err(pollster::block_on(Device::open(&options)).err().unwrap_or(Error::Gpu("no adapter".into())));
    }
    let tested: Vec<_> = chosen.into_iter().map(|(index, summary)| test(index, summary)).collect();
    let report = Report { version: env!("CARGO_PKG_VERSION"), pass: tested.iter().all(|t| t.pass), adapters: tested };
    if arguments.json {
        outln!("{}", serde_json::to_string_pretty(&report).expect("a report is JSON"));
    } else {
        report.adapters.iter().for_each(print);
    }
    Ok(report.pass)
}

fn test(index: usize, summary: &AdapterSummary) -> Tested {
    errln!("testing {index}: {summary}");
    let options = DeviceOptions { adapter: Some(index.to_string()), ..Default::default() };
    let outcome = pollster::block_on(async {
        let device = Device::open(&options).await?;
        self_test(&device, &Tuning::for_device(&device)).await
    });
    let (operations, error) = match outcome {
        Ok(operations) => (operations, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let pass = error.is_none() && operations.iter().all(|o| o.pass);
    Tested { index, summary: summary.clone(), pass, error, operations }
}

fn print(tested: &Tested) {
    let a = &tested.summary;
    outln!("{}: {a}", tested.index);
    outln!(
        "   storage binding {} MiB, buffer {} MiB, {} storage buffers, {} KiB workgroup memory, {} invocations",
        a.max_storage_buffer_binding_size >> 20,
        a.max_buffer_size >> 20,
        a.max_storage_buffers_per_shader_stage,
        a.max_compute_workgroup_storage_size >> 10,
        a.max_compute_invocations_per_workgroup
    );
    outln!("   features: {}", if a.features.is_empty() { "none".into() } else { a.features.join(", ") });
    if let Some(error) = &tested.error {
        outln!("   FAILED: {error}");
    }
    for o in &tested.operations {
        outln!("   {} {:<60} {:.1e}", if o.pass { "ok    " } else { "FAILED" }, o.name, o.worst);
    }
    outln!(
        "   {}",
        if tested.pass { "every operation agrees with the oracle" } else { "do not train on this adapter" }
    );
}
