//! What a person sees of a run: a bar on a terminal, a line now and then anywhere else. Both on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::terminal::errln;
use crate::{text::shown, train::metrics::Metrics};

/// Time between two lines when there is no terminal.
const RHYTHM: Duration = Duration::from_secs(10);

/// The display of one run, or of one pass over images: two lines with a bar, or one line now and then.
#[derive(Debug)]
pub struct Progress {
    total: u64,
    start: u64,
    began: Instant,
    /// The bar on a terminal, the rhythm of lines elsewhere.
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines { printed: Option<Instant>, waiting: Option<String> },
}

impl Progress {
    /// A display of a run of `total` steps (or images) of which `start` are done, as its surroundings allow.
    pub fn new(total: u64, start: u64) -> Progress {
        let shown = if std::io::stderr().is_terminal() {
            let style =
                ProgressStyle::with_template("{bar:24} {pos}/{len}  {prefix}\n{wide_msg}").expect("a valid template");
            let bar = ProgressBar::new(total).with_style(style).with_position(start);
            Shown::Bar(bar)
        } else {
            Shown::Lines { printed: None, waiting: None }
        };
        Progress { total, start, began: Instant::now(), shown }
    }

    /// Goes back to an earlier step.
    pub fn back_to(&mut self, step: u64) {
        (self.start, self.began) = (step, Instant::now());
        if let Shown::Bar(bar) = &self.shown {
            bar.set_position(step);
        }
    }

    /// Shows what a step measured. Lines come at the first step, every ten seconds and at the last step.
    pub fn update(&mut self, metrics: &Metrics) {
        let eta = remaining(self.began.elapsed(), self.start, metrics.step, self.total);
        let (losses, pace) = (losses(metrics), pace(metrics.images_per_s, eta));
        let line = format!("step {}/{}  {losses}  {pace}", metrics.step, self.total);
        self.show(metrics.step, line, pace, losses);
    }

    /// Shows how many images are done, in the same rhythm.
    pub fn images(&mut self, done: u64) {
        let elapsed = self.began.elapsed();
        let pace = pace(done as f64 / elapsed.as_secs_f64(), remaining(elapsed, 0, done, self.total));
        self.show(done, format!("images {done}/{}  {pace}", self.total), pace, String::new());
    }

    fn show(&mut self, position: u64, line: String, beside: String, below: String) {
        let now = Instant::now();
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(position);
                bar.set_prefix(beside);
                bar.set_message(below);
            }
            Shown::Lines { printed, waiting } => {
                if due(*printed, now, position >= self.total) {
                    errln!("{line}");
                    (*printed, *waiting) = (Some(now), None);
                } else {
                    *waiting = Some(line);
                }
            }
        }
    }

    /// Prints a line without disturbing the bar.
    pub fn println(&self, line: &str) {
        let line = shown(line);
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(|| errln!("{line}")),
            Shown::Lines { .. } => errln!("{line}"),
        }
    }

    /// Leaves the last state on the screen, also that of a run stopped early.
    pub fn finish(self) {
        match self.shown {
            Shown::Bar(bar) => bar.abandon(),
            Shown::Lines { waiting, .. } => waiting.iter().for_each(|line| errln!("{line}")),
        }
    }
}

/// Whether a line is due, `printed` being the time of the one before.
fn due(printed: Option<Instant>, now: Instant, last_step: bool) -> bool {
    last_step || printed.is_none_or(|then| now.duration_since(then) >= RHYTHM)
}

/// Time left at the pace since `start`; none before the first step and after the last.
fn remaining(elapsed: Duration, start: u64, step: u64, total: u64) -> Option<Duration> {
    let (done, left) = (step.saturating_sub(start), total.saturating_sub(step));
    (done > 0 && left > 0).then(|| Duration::from_secs_f64(elapsed.as_secs_f64() / done as f64 * left as f64))
}

/// The loss, its parts where there are several, and the learning rate of a step.
fn losses(metrics: &Metrics) -> String {
    let Metrics { loss, scalars, learning_rate, .. } = metrics;
    let parts = scalars.iter().filter_map(|(name, value)| Some((name.strip_prefix("loss_")?, value)));
    let parts = parts.map(|(part, value)| match scalars.get(&format!("{part}_weight")) {
        Some(weight) => format!("{part} {value:.4} × {weight:.2}"),
        None => format!("{part} {value:.4}"),
    });
    let parts: Vec<_> = parts.collect();
    let parts = if parts.len() > 1 { format!(" ({})", parts.join(", ")) } else { String::new() };
    format!("loss {loss:.4}{parts}  rate {learning_rate:.2e}")
}

/// The speed and the time left.
fn pace(images_per_s: f64, eta: Option<Duration>) -> String {
    let eta = eta.map(|left| format!("  {} left", span(left))).unwrap_or_default();
    format!("{images_per_s:.1} images/s{eta}")
}

/// A time in the two largest of its units: `45 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`.
pub(super) fn span(time: Duration) -> String {
    match time.as_secs() {
        s @ ..60 => format!("{s} s"),
        s @ ..3600 => format!("{} min {} s", s / 60, s % 60),
        s @ ..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        s => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_first_then_every_ten_seconds_then_last() {
        let start = Instant::now();
        let after = |s| start + Duration::from_secs(s);
        assert!(due(None, start, false));
        assert!(!due(Some(start), after(9), false));
        assert!(due(Some(start), after(10), false));
        assert!(due(Some(start), after(1), true));
    }

    #[test]
    fn a_pass_over_images_says_how_fast_it_is() {
        let mut progress = Progress { shown: Shown::Lines { printed: None, waiting: None }, ..Progress::new(10, 0) };
        progress.images(4);
        progress.images(8);
        let Shown::Lines { waiting: Some(line), .. } = &progress.shown else { panic!("the second line waits") };
        assert!(line.starts_with("images 8/10  ") && line.contains(" images/s  0 s left"), "{line}");
    }

    #[test]
    fn time_left_counts_only_the_steps_of_this_process() {
        let left = |start, step| remaining(Duration::from_secs(10), start, step, 100);
        assert_eq!(left(0, 50), Some(Duration::from_secs(10)));
        assert_eq!(left(40, 50), Some(Duration::from_secs(50)));
        assert_eq!((left(50, 50), left(0, 100), left(0, 101)), (None, None, None));
    }

    #[test]
    fn a_line_has_losses_rate_speed_and_time() {
        let metrics = Metrics {
            loss: 1.8,
            scalars: [("loss_pixel", 1.6), ("loss_feature", 0.4), ("feature_weight", 0.5)].into_iter().collect(),
            learning_rate: 1e-3,
            images_per_s: 812.25,
            ..Metrics::default()
        };
        assert_eq!(losses(&metrics), "loss 1.8000 (pixel 1.6000, feature 0.4000 × 0.50)  rate 1.00e-3");
        assert_eq!(pace(metrics.images_per_s, Some(Duration::from_secs(75))), "812.2 images/s  1 min 15 s left");
        assert_eq!(pace(metrics.images_per_s, None), "812.2 images/s");
        let pixel_alone = Metrics { scalars: [("loss_pixel", 1.6)].into_iter().collect(), ..metrics };
        assert_eq!(losses(&pixel_alone), "loss 1.8000  rate 1.00e-3");
    }

    #[test]
    fn spans_are_in_their_two_largest_units() {
        let text = |s| span(Duration::from_secs(s));
        assert_eq!([text(59), text(185), text(7800), text(273_600)], ["59 s", "3 min 5 s", "2 h 10 min", "3 d 4 h"]);
    }
}
