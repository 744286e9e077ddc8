//! `curves.svg`: the losses of a run, drawn anew with each checkpoint.

use std::{fs, path::Path};

use plotters::prelude::*;

use crate::{
    durable::write_atomically,
    error::{Error, Result},
    train::metrics::{self, Metrics},
};

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

/// At most `MOST_POINTS` lines, evenly taken, and those of evaluations; a last line still being written is left out.
pub fn thinned(text: &str) -> Vec<Metrics> {
    let every = text.lines().count().div_ceil(MOST_POINTS).max(1);
    let wanted = |(at, line): &(usize, &str)| at.is_multiple_of(every) || line.contains("\"evaluation_share\"");
    text.lines().enumerate().filter(wanted).filter_map(|(_, line)| serde_json::from_str(line).ok()).collect()
}

/// The colours of curves, in the order of the scalars.
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(148, 148, 148),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
];

/// Whether a scalar is drawn: losses, and what lies between 0 and 1.
fn is_drawn(name: &str) -> bool {
    let evaluated = name.starts_with("knn_") || name.starts_with("validation_accuracy");
    name.starts_with("loss") || evaluated || name.ends_with("accuracy") || name.ends_with("_spread")
}

/// The scalars that are drawn, the parts of the loss where it has any, in the order in which steps report them.
fn curves(steps: &[Metrics]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in steps.iter().flat_map(|step| step.scalars.iter()).filter(|(name, _)| is_drawn(name)) {
        // Evaluations are of some steps only.
        if !names.iter().any(|known| known == name) {
            names.push(name.into());
        }
    }
    let whole = (!names.iter().any(|name| name.starts_with("loss"))).then(|| "loss".to_owned());
    whole.into_iter().chain(names).collect()
}

/// A curve: its name and its points, steps and values.
pub type Curve = (String, Vec<(f64, f64)>);

/// The points of a scalar, or of the `loss`, where it is a number.
pub fn points(steps: &[Metrics], name: &str) -> Vec<(f64, f64)> {
    let value = |m: &Metrics| if name == "loss" { Some(m.loss) } else { m.scalars.get(name) };
    steps.iter().filter_map(|m| Some((m.step as f64, value(m)?))).filter(|(_, y)| y.is_finite()).collect()
}

/// Losses, accuracies and teacher spread over the steps, as SVG.
pub fn svg(steps: &[Metrics]) -> Result<String, String> {
    let curve = |name: &String| (name.replace('_', " "), points(steps, name));
    lines(&curves(steps).iter().map(curve).collect::<Vec<_>>())
}

/// Curves over the steps, as SVG.
pub fn lines(curves: &[Curve]) -> Result<String, String> {
    let all = || curves.iter().flat_map(|(_, points)| points);
    let last = all().map(|(x, _)| *x).fold(1.0, f64::max);
    let highest = all().map(|(_, y)| *y).fold(0.1, f64::max);
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
            for ((name, points), colour) in curves.iter().zip(COLOURS.into_iter().cycle()) {
                let series = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(1)))?;
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
        let branch = spread.map(|spread| [("loss_feature", 0.5), ("teacher_spread", spread)]);
        let scalars = [("loss_pixel", 1.0 / step as f64)].into_iter().chain(branch.into_iter().flatten()).collect();
        let metrics = Metrics { step, scalars, ..Metrics::default() };
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
        for name in ["loss pixel", "loss feature", "teacher spread"] {
            assert!(picture.contains(name), "{name}");
        }
        let pixels_alone = svg(&thinned(&line(1, None))).unwrap();
        assert!(pixels_alone.contains("loss pixel") && !pixels_alone.contains("loss feature"));
        let broken = Metrics { step: 1, loss: f64::NAN, ..Metrics::default() };
        let picture = svg(&[broken]).unwrap();
        assert!(picture.contains("loss") && picture.ends_with("</svg>\n"));
    }

    #[test]
    fn a_long_run_is_thinned() {
        let text: String = (1..=5000).map(|step| line(step, None)).collect();
        let steps = thinned(&text);
        assert_eq!((steps.len(), steps[0].step, steps[1].step), (1667, 1, 4));
    }
}
