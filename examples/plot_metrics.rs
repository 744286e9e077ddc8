//! Draws the losses of a run: `cargo run --example plot_metrics -- runs/demo/metrics.jsonl losses.svg`.

use std::error::Error;

use bootmae::train::metrics::Metrics;
use plotters::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [metrics, picture] = &arguments[..] else {
        return Err("usage: plot_metrics METRICS.jsonl PICTURE.svg".into());
    };
    let text = std::fs::read_to_string(metrics)?;
    let steps: Vec<Metrics> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let last = steps.last().ok_or("no steps in the file")?.step as f64;
    type Value = fn(&Metrics) -> f64;
    let losses: [(&str, RGBColor, Value); 2] = [
        ("pixel loss", RGBColor(31, 119, 180), |m| m.loss_pixel),
        ("feature loss", RGBColor(214, 39, 40), |m| m.loss_feature),
    ];
    let highest = steps.iter().flat_map(|m| [m.loss_pixel, m.loss_feature]).fold(0.0, f64::max);

    let area = SVGBackend::new(picture, (760, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..last, 0.0..highest * 1.05)?;
    chart.configure_mesh().x_desc("step").y_desc("loss").light_line_style(WHITE).draw()?;
    for (name, colour, value) in losses {
        let line = steps.iter().map(|m| (m.step as f64, value(m)));
        let series = chart.draw_series(LineSeries::new(line, colour.stroke_width(1)))?;
        series.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}
