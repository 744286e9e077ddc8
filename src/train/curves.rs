//! `curves.svg`: the losses of a run, drawn anew with each checkpoint.

use std::{fs, path::Path};

use plotters::prelude::*;

use super::{
    durable::write_atomically,
    metrics::{self, Metrics},
};
use crate::error::{Error, Result};

/// The file's name inside a run folder.
pub const FILE_NAME: &str = "curves.svg";

/// Points that a curve has at most; a longer run is drawn with every n-th step.
const MOST_POINTS: usize = 2000;

/// Draws the curves of the run in a folder; nothing before its first step.
pub fn draw(run: &Path) -> Result<()> {
    let path = run.join(metrics::FILE_NAME);
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let steps = thinned(&text);
    if steps.is_empty() {
        return Ok(());
    }
    let picture = svg(&steps).map_err(|reason| Error::io(run.join(FILE_NAME))(std::io::Error::other(reason)))?;
    write_atomically(&run.join(FILE_NAME), |to| to.write_all(picture.as_bytes()))
}

/// At most [`MOST_POINTS`] lines, evenly taken; a last line still being written is left out.
pub fn thinned(text: &str) -> Vec<Metrics> {
    let every = text.lines().count().div_ceil(MOST_POINTS).max(1);
    text.lines().step_by(every).filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Losses and teacher spread over the steps, as SVG.
pub fn svg(steps: &[Metrics]) -> Result<String, String> {
    type Value = fn(&Metrics) -> Option<f64>;
    let curves: [(&str, RGBColor, Value); 3] = [
        ("pixel loss", RGBColor(31, 119, 180), |m| Some(m.loss_pixel)),
        ("feature loss", RGBColor(214, 39, 40), |m| m.teacher_spread.map(|_| m.loss_feature)),
        ("teacher spread", RGBColor(148, 148, 148), |m| m.teacher_spread),
    ];
    let points = |value: Value| {
        let points = steps.iter().filter_map(move |m| Some((m.step as f64, value(m)?)));
        points.filter(|(_, y)| y.is_finite())
    };
    let last = steps.last().map_or(1.0, |m| m.step as f64).max(1.0);
    let highest = curves.iter().flat_map(|(_, _, value)| points(*value)).map(|(_, y)| y).fold(0.1, f64::max);
    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, (760, 400)).into_drawing_area();
        let drawn = || -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .margin(16)
                .x_label_area_size(36)
                .y_label_area_size(44)
                .build_cartesian_2d(0.0..last, 0.0..highest * 1.05)?;
            chart.configure_mesh().x_desc("step").light_line_style(WHITE).draw()?;
            for (name, colour, value) in curves.into_iter().filter(|(_, _, value)| points(*value).next().is_some()) {
                let series = chart.draw_series(LineSeries::new(points(value), colour.stroke_width(1)))?;
                series.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .border_style(BLACK)
                .background_style(WHITE)
                .draw()?;
            area.present()
        };
        drawn().map_err(|e| e.to_string())?;
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64, spread: Option<f64>) -> String {
        let metrics = Metrics { step, loss_pixel: 1.0 / step as f64, teacher_spread: spread, ..Metrics::default() };
        serde_json::to_string(&metrics).unwrap() + "\n"
    }

    #[test]
    fn a_run_is_drawn_with_the_curves_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(metrics::FILE_NAME);
        fs::write(&path, "").unwrap();
        draw(folder.path()).unwrap();
        assert!(!folder.path().join(FILE_NAME).exists());
        let text: String = (1..50).map(|step| line(step, Some(0.5))).collect();
        fs::write(&path, text + "{\"schema\":1,\"st").unwrap();
        draw(folder.path()).unwrap();
        let picture = fs::read_to_string(folder.path().join(FILE_NAME)).unwrap();
        for name in ["pixel loss", "feature loss", "teacher spread"] {
            assert!(picture.contains(name), "{name}");
        }
        let pixels_alone = svg(&thinned(&line(1, None))).unwrap();
        assert!(pixels_alone.contains("pixel loss") && !pixels_alone.contains("feature loss"));
        let broken = Metrics { step: 1, loss_pixel: f64::NAN, ..Metrics::default() };
        assert!(svg(&[broken]).unwrap().ends_with("</svg>\n"));
    }

    #[test]
    fn a_long_run_is_thinned() {
        let text: String = (1..=5000).map(|step| line(step, None)).collect();
        let steps = thinned(&text);
        assert_eq!((steps.len(), steps[0].step, steps[1].step), (1667, 1, 4));
    }
}
