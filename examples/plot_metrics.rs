//! Draws the curves of a run, as the run itself does in `curves.svg`:
//! `cargo run --example plot_metrics -- runs/demo/metrics.jsonl losses.svg`.

use std::{error::Error, fs};

use bootmae::report::curves::{svg, thinned};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [metrics, picture] = &arguments[..] else {
        return Err("usage: plot_metrics METRICS.jsonl PICTURE.svg".into());
    };
    let steps = thinned(&fs::read_to_string(metrics)?);
    if steps.is_empty() {
        return Err("no steps in the file".into());
    }
    fs::write(picture, svg(&steps)?)?;
    Ok(())
}
