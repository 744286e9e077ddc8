//! Whether the self-test of `bootmae doctor` finds a driver that computes wrongly: shaders with one operator or constant
//! changed stand in for such a driver. `BOOTMAE_MUTANTS=N` tries every Nth change, without it every
//! 25th.

mod common;

use std::{collections::BTreeSet, sync::Arc};

use bootmae::{
    check::self_test::{record, runs_with, self_test_of},
    device::{Device, DeviceOptions, Rewrite},
    graph::Graph,
    kernels::{ALL, Kernel, Tuning},
    lower::{Fetch, Plan, PlanOptions},
    ops::{Sample, samples},
};

/// What is changed to what. Comparisons stay: most of them guard the ends of arrays, where a change has no effect.
const CHANGES: [(&str, &str); 11] = [
    (" + ", " - "),
    (" - ", " + "),
    (" * ", " + "),
    (" / ", " * "),
    ("+= ", "-= "),
    ("max(", "min("),
    ("min(", "max("),
    ("exp(", "abs("),
    ("sqrt(", "abs("),
    ("1.0 /", "1.5 /"),
    ("fma(", "0.5 + fma("),
];

/// How values are rounded to half precision, a part of several sources.
const HALVES: &str = include_str!("../shaders/common/half.wgsl");

/// A source with the occurrence of a change at a byte, if that is code of a function.
struct Mutant {
    /// The kernel's, whose text this is.
    name: &'static str,
    function: String,
    source: String,
    what: String,
}

fn mutants() -> Vec<Mutant> {
    // Variants for particular adapters are tested where those are.
    let kernels = ALL.iter().filter(|kernel| kernel.row().needs.is_empty() && kernel.row().body != "copy");
    let sources: BTreeSet<_> = kernels.map(|kernel| (kernel.name, kernel.source)).collect();
    let mut list = Vec::new();
    for (name, source) in sources {
        let mut start = 0;
        let mut inside = false;
        let mut function = String::new();
        for line in source.split_inclusive('\n') {
            let code = line.split("//").next().unwrap_or_default();
            inside = (inside || line.contains("fn ")) && !line.starts_with('}');
            if let Some((_, after)) = code.split_once("fn ") {
                function = after.split('(').next().unwrap_or_default().to_string();
            }
            // What is left of a brace may be a signature; bounds and indices of loops guard the ends of arrays.
            let body = if line.contains("fn ") { code.find('{').map_or(code.len(), |at| at + 1) } else { 0 };
            // Bounds and clamps guard the ends of arrays, a grid's second row begins beyond two million invocations, and a
            // workgroup of the web-safe matmul has one row: changes there have no effect. Nor has what a last four of values
            // holds past the end.
            let idle = ["for (", "return;", "- 1u", "groups.x", "local.y", "vec4(i * 4u)", "< params.len"];
            // How ties are rounded shows in the samples of the rounding alone.
            let rounding = name != "cast" && HALVES.lines().any(|own| own.trim() == code.trim());
            let skipped = !inside || rounding || idle.iter().any(|part| code.contains(part));
            for (old, new) in CHANGES.iter().filter(|_| !skipped) {
                for (at, _) in code.match_indices(old).filter(|(at, _)| *at >= body) {
                    let place = start + at;
                    let changed = format!("{}{new}{}", &source[..place], &source[place + old.len()..]);
                    let what = format!("{name}: `{old}` to `{new}` in `{}`", code.trim());
                    list.push(Mutant { name, function: function.clone(), source: changed, what });
                }
            }
            start += line.len();
        }
    }
    list
}

/// The samples whose plans run the mutant's kernel with the web-safe variants, or any of its text where it is in a function
/// that kernels call.
fn samples_of(mutant: &Mutant) -> Vec<Sample> {
    let of_name = |kernel: &Kernel| kernel.name == mutant.name;
    let of_function = |kernel: &Kernel| of_name(kernel) && kernel.entry == mutant.function;
    let is_kernel = ALL.iter().any(|kernel| of_function(kernel));
    let runs = |sample: &Sample| {
        let graph = Graph::new();
        let recording = record(&graph, sample);
        let fetch: Vec<_> = recording.results.iter().map(|(name, t)| Fetch::new(name, *t)).collect();
        let plan = Plan::new(&graph, &fetch, &PlanOptions::default());
        plan.dispatches.iter().any(|d| if is_kernel { of_function(d.kernel) } else { of_name(d.kernel) })
    };
    samples().into_iter().filter(|sample| runs_with(sample, &Tuning::default()) && runs(sample)).collect()
}

/// Whether the self-test passes with the mutant; nothing where it does not compile.
fn survives(mutant: &Mutant, samples: Vec<Sample>) -> Option<bool> {
    let (name, source) = (mutant.name, mutant.source.clone());
    let rewrite = move |kernel: &Kernel| if kernel.name == name { source.clone() } else { kernel.source.to_string() };
    let options = DeviceOptions { checked: true, rewrite: Some(Rewrite(Arc::new(rewrite))), ..Default::default() };
    let device: Device = common::one_device(options);
    let outcomes = pollster::block_on(self_test_of(&device, &Tuning::default(), samples)).ok()?;
    Some(outcomes.iter().all(|outcome| outcome.pass))
}

#[test]
fn the_self_test_finds_a_driver_that_computes_wrongly() {
    let every = std::env::var("BOOTMAE_MUTANTS").map_or(25, |number| number.parse().expect("a number"));
    let (mut caught, mut survivors) = (0, Vec::new());
    for mutant in mutants().into_iter().step_by(every) {
        let samples = samples_of(&mutant);
        if samples.is_empty() {
            continue;
        }
        match survives(&mutant, samples) {
            Some(false) => caught += 1,
            Some(true) => survivors.push(mutant.what),
            None => {}
        }
    }
    let tried = caught + survivors.len();
    println!("{caught} of {tried} caught; not: {survivors:#?}");
    assert!(tried > 8 && caught as f64 >= 0.95 * tried as f64, "{caught} of {tried} caught; not: {survivors:#?}");
}
