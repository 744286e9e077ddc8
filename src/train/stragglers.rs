//! Which of the processes that train together keeps the others waiting.

use serde::{Deserialize, Serialize};

/// Steps after which it is looked for, again and again.
const STEPS: usize = 50;

/// How much longer than usual a step takes where its process is one that keeps the others waiting.
const FACTOR: f64 = 1.2;

/// What a process took for its part of a step, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Effort {
    /// From the step's begin until its gradients were there to be exchanged.
    pub all: f64,
    /// What of that was waiting for images.
    pub images: f64,
}

/// The process that took the longest for its parts of some steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowest {
    /// Its number.
    pub rank: usize,
    /// Seconds that it took for its part of a step, the median.
    pub seconds: f64,
    /// What of that was waiting for images.
    pub images: f64,
    /// The median of all processes, the lower one of two.
    pub usual: f64,
}

impl Slowest {
    /// Whether the others wait for it longer than chance would have them wait.
    pub fn delays(&self) -> bool {
        self.seconds > FACTOR * self.usual
    }

    /// What a person is told of it, `host` being its machine, where it has a name.
    pub fn told(&self, host: &str) -> String {
        let Slowest { rank, seconds, images, usual } = self;
        let on = if host.is_empty() { String::new() } else { format!(" on {host}") };
        format!(
            "the others wait for process {rank}{on}: it takes {seconds:.2} s for its part of a step, {images:.2} s of that \
             waiting for images, where {usual:.2} s are usual"
        )
    }
}

/// The efforts of all processes since it was last looked for the slowest.
#[derive(Default)]
pub(super) struct Stragglers {
    /// Step by step, the processes in the order of their numbers.
    efforts: Vec<Vec<Effort>>,
}

impl Stragglers {
    /// Notes a step; after every [`STEPS`] of them, the slowest process.
    pub fn step(&mut self, efforts: Vec<Effort>) -> Option<Slowest> {
        let ranks = efforts.len();
        self.efforts.push(efforts);
        if self.efforts.len() < STEPS {
            return None;
        }
        let steps = std::mem::take(&mut self.efforts);
        let of = |rank: usize, what: fn(&Effort) -> f64| median(steps.iter().map(|step| what(&step[rank])).collect());
        let all: Vec<f64> = (0..ranks).map(|rank| of(rank, |effort| effort.all)).collect();
        let rank = (0..ranks).max_by(|a, b| all[*a].total_cmp(&all[*b]))?;
        let images = of(rank, |effort| effort.images);
        Some(Slowest { rank, seconds: all[rank], images, usual: median(all) })
    }
}

/// The middle value, the lower one of two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slowest(of: impl Fn(usize, usize) -> Effort, ranks: usize) -> Slowest {
        let mut stragglers = Stragglers::default();
        for step in 0..STEPS - 1 {
            assert_eq!(stragglers.step((0..ranks).map(|rank| of(step, rank)).collect()), None);
        }
        let found = stragglers.step((0..ranks).map(|rank| of(STEPS - 1, rank)).collect()).unwrap();
        assert_eq!(stragglers.step(vec![Effort::default(); ranks]), None, "it begins anew");
        found
    }

    #[test]
    fn the_slowest_process_is_found_with_what_it_waits_for() {
        let late =
            |_, rank| Effort { all: if rank == 2 { 0.5 } else { 0.25 }, images: if rank == 2 { 0.125 } else { 0.0 } };
        let found = slowest(late, 4);
        assert_eq!(found, Slowest { rank: 2, seconds: 0.5, images: 0.125, usual: 0.25 });
        assert!(found.delays());
        assert!(found.told("gpu-b").starts_with("the others wait for process 2 on gpu-b: it takes 0.50 s"));
    }

    #[test]
    fn of_two_processes_the_faster_one_is_the_measure() {
        assert!(slowest(|_, rank| Effort { all: [0.25, 0.375][rank], images: 0.0 }, 2).delays());
    }

    #[test]
    fn single_slow_steps_and_small_differences_delay_nobody() {
        let hiccup = |step: usize, rank| Effort { all: if step % 10 == rank { 9.0 } else { 1.0 }, images: 0.0 };
        assert!(!slowest(hiccup, 3).delays());
        assert!(!slowest(|_, rank| Effort { all: 1.0 + 0.05 * rank as f64, images: 0.0 }, 4).delays());
    }
}
