//! `bootmae doctor`: what adapters there are and whether they compute rightly.

use clap::Args;
use serde::Serialize;

use super::terminal::{errln, outln};
use crate::{
    check::{
        selection::Selection,
        self_test::{Outcome, self_test_of},
    },
    device::{AdapterSummary, Device, DeviceOptions, adapters},
    error::{Error, Result},
};

/// List adapters with their limits and features, and test every operation on them against a float64 oracle.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Test only the adapter with this in its name, or with this index.
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Test only operations with this in their names, as in `matmul`, `matmul_nt+gelu`, `attention_backward`.
    #[arg(long, value_name = "TEXT")]
    op: Option<String>,
    /// Test all kernel variants of the adapter with this in their names, as in `shared memory`, `subgroup`, `vec4`, instead of
    /// those that the built-in table chooses.
    #[arg(long, value_name = "TEXT")]
    variant: Option<String>,
    /// Run nothing; print the WGSL of the kernels chosen, as the driver reads it.
    #[arg(long, conflicts_with = "json")]
    dump: bool,
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
    let selection = Selection { op: arguments.op.clone(), variant: arguments.variant.clone() };
    if arguments.dump {
        chosen.into_iter().try_for_each(|(index, summary)| dump(index, summary, &selection))?;
        return Ok(true);
    }
    let tested: Vec<_> = chosen.into_iter().map(|(index, summary)| test(index, summary, &selection)).collect();
    if tested.iter().all(|tested| tested.error.is_none() && tested.operations.is_empty()) {
        return Err(nothing_selected());
    }
    let report = Report { version: env!("CARGO_PKG_VERSION"), pass: tested.iter().all(|t| t.pass), adapters: tested };
    if arguments.json {
        outln!("{}", serde_json::to_string_pretty(&report).expect("a report is JSON"));
    } else {
        report.adapters.iter().for_each(print);
    }
    Ok(report.pass)
}

fn nothing_selected() -> Error {
    let reason = "no operation has so named variants here; `bootmae doctor` lists the operations, `bootmae bench --tune` the \
                  variants";
    Error::Config(reason.into())
}

fn open(index: usize) -> Result<Device> {
    pollster::block_on(Device::open(&DeviceOptions { adapter: Some(index.to_string()), ..Default::default() }))
}

/// Prints the kernels' texts, each under a line with its name and constants.
fn dump(index: usize, summary: &AdapterSummary, selection: &Selection) -> Result<()> {
    let all = selection.of(&open(index)?);
    if all.is_empty() {
        return Err(nothing_selected());
    }
    for selected in all {
        let variant = selected.variant.map(|variant| format!(", {variant}")).unwrap_or_default();
        outln!("// {index}: {summary}{variant}");
        for (head, text) in selected.texts() {
            outln!("// {head}\n{text}");
        }
    }
    Ok(())
}

fn test(index: usize, summary: &AdapterSummary, selection: &Selection) -> Tested {
    errln!("testing {index}: {summary}");
    let outcome = open(index).and_then(|device| {
        let mut outcomes = Vec::new();
        for selected in selection.of(&device) {
            let mut some = pollster::block_on(self_test_of(&device, &selected.tuning, selected.samples))?;
            if let Some(variant) = selected.variant {
                some.iter_mut().for_each(|outcome| outcome.name += &format!(", {variant}"));
            }
            outcomes.extend(some);
        }
        Ok(outcomes)
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
