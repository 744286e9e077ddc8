//! A report of runs: one HTML file that needs no other and no network. Whatever stands in it is text or a picture.

use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use std::{fs::File, io::Read, path::Path};

use super::{
    curves::{self, points},
    told::{Evaluated, Told},
};
use crate::{durable::write_atomically, error::Result};

/// Its name in a run folder.
pub const FILE_NAME: &str = "report.html";

/// What every report begins with.
const START: &[u8] =
    b"<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
    content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">";

/// Whether a file that begins so can be a report; one that was cut short can.
pub fn is_begun_by(held: &[u8]) -> bool {
    held.starts_with(&START[..START.len().min(held.len())])
}

/// Whether the file at `path` is a report.
pub fn is_at(path: &Path) -> bool {
    let mut held = Vec::new();
    let read = |file: File| file.take(START.len() as u64).read_to_end(&mut held);
    File::open(path).and_then(read).is_ok() && is_begun_by(&held)
}

/// Writes the report of a run into its folder.
///
/// # Errors
/// As [`Told::read`], and where the file cannot be written.
pub fn write(run: &Path) -> Result<()> {
    let text = page(&[Told::read(run)?], &[]);
    let path = run.join(FILE_NAME);
    write_atomically(&path, |to| to.write_all(text.as_bytes()))
}

/// Nothing is loaded from anywhere, and nothing runs.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8885; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); } h3 { margin-bottom: .3rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; min-width: 6rem; }
th { font-weight: 600; }
img { max-width: 100%; height: auto; } .chart { width: 100%; max-width: 760px; background: #fff; border-radius: 6px; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 1rem; }
figure { margin: 0; } .samples img { width: 100%; image-rendering: pixelated; } figcaption { font-size: .9rem; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: 6px; font-size: .85rem; }
";

/// Curves that several runs are compared by, with words for them.
const COMPARED: [(&str, &str); 7] = [
    ("loss", "Loss"),
    ("loss_pixel", "Pixel loss"),
    ("loss_feature", "Feature loss"),
    ("knn_student", "Nearest neighbours, student: share of labels told right"),
    ("knn_teacher", "Nearest neighbours, teacher: share of labels told right"),
    ("validation_accuracy", "Accuracy on the validation images"),
    ("teacher_spread", "Teacher spread"),
];

/// The page of some runs, and of what classifiers on their features came to.
pub fn page(runs: &[Told], evaluated: &[Evaluated]) -> String {
    let title = match (runs, evaluated) {
        ([run], _) => format!("Report of {}", run.name),
        ([], [one]) => format!("Report of {}", one.name),
        ([], _) => format!("Report of {} results", evaluated.len()),
        _ => format!("Report of {} runs", runs.len()),
    };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                @if !runs.is_empty() { (summary(runs)) }
                @if runs.len() > 1 { (comparison(runs)) }
                @if !evaluated.is_empty() { (evaluations(evaluated)) }
                @for run in runs { (of_run(run)) }
                p { "Made by bootmae " (env!("CARGO_PKG_VERSION")) ". The curves\u{2019} numbers are in each run\u{2019}s metrics.jsonl." }
            }
        }
    };
    markup.into_string()
}

/// A row of the table of runs: what it is called, and its value for a run.
type Row = (&'static str, fn(&Told) -> Option<String>);

/// What runs came to, a column each; rows that say nothing are left out.
fn summary(runs: &[Told]) -> Markup {
    fn last(run: &Told, name: &str) -> Option<f64> {
        points(&run.steps, name).last().map(|(_, y)| *y)
    }
    let rows: [Row; 12] = [
        ("network", |run| run.network()),
        ("steps", |run| Some(run.steps.last()?.step.to_string())),
        ("images seen", |run| Some(run.images_seen()?.to_string())),
        ("last loss", |run| last(run, "loss").map(|loss| format!("{loss:.4}"))),
        ("pixel", |run| last(run, "loss_pixel").map(|loss| format!("{loss:.4}"))),
        ("feature", |run| last(run, "loss_feature").map(|loss| format!("{loss:.4}"))),
        ("teacher spread", |run| last(run, "teacher_spread").map(|spread| format!("{spread:.3}"))),
        ("kNN, student", |run| last(run, "knn_student").map(|share| format!("{:.1} %", share * 100.0))),
        ("kNN, teacher", |run| last(run, "knn_teacher").map(|share| format!("{:.1} %", share * 100.0))),
        ("validation", |run| last(run, "validation_accuracy").map(|share| format!("{:.1} %", share * 100.0))),
        ("images/s", |run| Some(format!("{:.0}", median(run.steps.iter().map(|step| step.images_per_s))?))),
        ("time", |run| Some(time(run.seconds()))),
    ];
    let shown: Vec<&Row> = rows.iter().filter(|(_, of)| runs.iter().any(|run| of(run).is_some())).collect();
    html! {
        div.wide {
            table {
                thead { tr { td {} @for run in runs { th scope="col" { (run.name) } } } }
                tbody {
                    @for (name, of) in shown {
                        tr {
                            th scope="row" { (name) }
                            @for run in runs { td { (of(run).unwrap_or_else(|| "\u{2013}".into())) } }
                        }
                    }
                }
            }
        }
    }
}

/// The curves that more than one run has, all runs in one chart.
fn comparison(runs: &[Told]) -> Markup {
    let chart = |name: &str| {
        let of =
            |run: &Told| Some((run.name.clone(), points(&run.steps, name))).filter(|(_, points)| !points.is_empty());
        let curves: Vec<_> = runs.iter().filter_map(of).collect();
        if curves.len() > 1 { curves::lines(&curves).ok() } else { None }
    };
    html! {
        h2 { "Side by side" }
        @for (name, words) in COMPARED {
            @if let Some(chart) = chart(name) {
                h3 { (words) }
                (svg(&chart, words))
            }
        }
    }
}

fn of_run(run: &Told) -> Markup {
    let faults: Vec<_> = run.log.iter().filter(|line| is_fault(line)).collect();
    html! {
        h2 { (run.name) }
        @if let Some(adapter) = run.adapter() { p { "Trained with " (adapter) "." } }
        @if let Ok(chart) = curves::svg(&run.steps) { (svg(&chart, "Losses and accuracies over the steps")) }
        @if !run.samples.is_empty() {
            h3 { "Samples" }
            p { "Original, what the network saw, and what it made of it; then what its parts predicted, where there are any." }
            div.samples {
                @for (step, sample) in &run.samples {
                    figure { (png(sample, &format!("sample after step {step}"))) figcaption { "after step " (step) } }
                }
            }
        }
        @if !faults.is_empty() {
            h3 { "Faults" }
            ul { @for line in faults { li { (line) } } }
        }
        details { summary { "Settings" } pre { (run.settings) } }
    }
}

fn evaluations(evaluated: &[Evaluated]) -> Markup {
    html! {
        h2 { "Classifiers on the features" }
        div.wide {
            table {
                thead { tr { @for name in ["results", "method", "top-1", "top-5"] { th scope="col" { (name) } } } }
                tbody {
                    @for one in evaluated {
                        tr {
                            td { (one.name) }
                            td { (one.method) }
                            @for share in [one.top1, one.top5] { td { (format!("{:.1} %", share * 100.0)) } }
                        }
                    }
                }
            }
        }
        @for one in evaluated {
            @if let Some(confusion) = &one.confusion {
                h3 { "Confusion of " (one.name) }
                p { (one.how) }
                (png(confusion, "confusion matrix: classes by what they were taken for"))
            }
        }
    }
}

/// Whether a line of the log tells of something that went wrong.
fn is_fault(line: &str) -> bool {
    ["back to step", "after going back", "skipped: ", "  passed over ", "set aside"]
        .iter()
        .any(|part| line.contains(part))
}

/// A chart as a picture: what its text holds cannot run.
fn svg(chart: &str, words: &str) -> Markup {
    html! { img.chart src=(format!("data:image/svg+xml;base64,{}", STANDARD.encode(chart))) alt=(words); }
}

fn png(bytes: &[u8], words: &str) -> Markup {
    html! { img src=(format!("data:image/png;base64,{}", STANDARD.encode(bytes))) alt=(words); }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A time as a person says it.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{super::log, *};
    use crate::train::{
        config::RunConfig,
        metrics::{self, Metrics},
    };

    fn run(folder: &Path) {
        let config = RunConfig::preset("nano").unwrap().to_toml().unwrap();
        fs::write(folder.join("config.toml"), config).unwrap();
        let step =
            |step: u64, elapsed_s: f64| Metrics { step, loss: 1.0 / step as f64, elapsed_s, ..Metrics::default() };
        let steps = [step(1, 5.0), step(2, 9.0), step(3, 4.0)];
        let lines: String = steps.iter().map(|step| serde_json::to_string(step).unwrap() + "\n").collect();
        fs::write(folder.join(metrics::FILE_NAME), lines).unwrap();
        let log = "2026-01-01T00:00:00Z  bootmae 0.1.0 on <b>GPU</b>\n2026-01-01T00:00:00Z  step 2 has a NaN; back to step 1\n";
        fs::write(folder.join(log::FILE_NAME), log).unwrap();
        fs::create_dir(folder.join("samples")).unwrap();
        for step in [500, 1000, 20] {
            fs::write(folder.join(format!("samples/step-{step}.png")), b"\x89PNG and more").unwrap();
        }
        fs::write(folder.join("samples/step-7.png"), b"<script>").unwrap();
    }

    #[test]
    fn a_page_tells_what_the_folders_hold_and_runs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a <script>alert(1)<");
        fs::create_dir(&path).unwrap();
        assert!(Told::read(&path).is_err());
        run(&path);
        let told = Told::read(&path).unwrap();
        assert_eq!((told.seconds(), told.images_seen(), told.adapter()), (13.0, Some(192), Some("<b>GPU</b>")));
        assert_eq!(told.samples.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [20, 500, 1000]);
        let results = r#"{"format": "bootmae results", "method": "kNN", "how": "two sides", "top1": 0.5, "top5": 0.75, "more": 1}"#;
        fs::write(path.join("results.json"), results).unwrap();
        let evaluated = Evaluated::read(&path).unwrap().unwrap();
        let one = page(std::slice::from_ref(&told), &[evaluated]);
        for part in ["BootMAE, 128 wide", "50.0 %", "&lt;b&gt;GPU", "back to step 1", "after step 1000", "image_height"]
        {
            assert!(one.contains(part), "{part}");
        }
        let two = page(&[told, Told::read(&path).unwrap()], &[]);
        assert!(two.contains("Side by side"));
        for page in [one, two] {
            assert!(is_begun_by(page.as_bytes()) && is_begun_by(&page.as_bytes()[..20]) && !is_begun_by(b"<html>"));
            assert!(!page.contains("<script") && !page.contains("http:") && !page.contains("https:"));
        }
        fs::write(path.join("results.json"), "{}").unwrap();
        assert!(Evaluated::read(&path).unwrap_err().to_string().contains("results.json"));
    }
}
