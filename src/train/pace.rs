//! How fast a run trains, and what it waits for.

use std::collections::VecDeque;

use web_time::Instant;

use super::metrics::Metrics;

/// Steps over which the rate of images is averaged.
const RATE_WINDOW: usize = 10;

/// When results arrived, and what the steps waited for.
pub(super) struct Pace {
    began: Instant,
    arrivals: VecDeque<Instant>,
    waits: VecDeque<f64>,
}

impl Pace {
    pub(super) fn new() -> Pace {
        let began = Instant::now();
        Pace { began, arrivals: VecDeque::from([began]), waits: VecDeque::new() }
    }

    /// Notes what the next step waited for its images, in seconds.
    pub(super) fn wait(&mut self, seconds: f64) {
        self.waits.push_back(seconds);
    }

    /// Begins anew, after a pause.
    pub(super) fn restart(&mut self) {
        *self = Pace { waits: std::mem::take(&mut self.waits), ..Pace::new() };
    }

    /// Notes the arrival of the oldest step in flight and fills in what follows from it.
    pub(super) fn arrive(&mut self, metrics: &mut Metrics, batch: usize) {
        let now = Instant::now();
        let step = now.duration_since(*self.arrivals.back().expect("at least the start")).as_secs_f64();
        self.arrivals.push_back(now);
        if self.arrivals.len() > RATE_WINDOW + 1 {
            self.arrivals.pop_front();
        }
        let seconds = now.duration_since(self.arrivals[0]).as_secs_f64();
        metrics.images_per_s = (batch * (self.arrivals.len() - 1)) as f64 / seconds;
        metrics.data_wait_s = self.waits.pop_front().unwrap_or_default();
        // The last steps of a run arrive together: none of them takes less than they do on the average.
        let usual = seconds / (self.arrivals.len() - 1) as f64;
        metrics.data_wait_share = (metrics.data_wait_s / step.max(usual)).min(1.0);
        metrics.elapsed_s = now.duration_since(self.began).as_secs_f64();
    }
}
