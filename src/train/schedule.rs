//! Learning rate and teacher decay as pure functions of the step.
//!
//! Steps count from 0; step `s` is the update that makes `s + 1` steps complete. Nothing here remembers anything, so a
//! resumed run continues on the same curve. Trigonometry is `libm`'s, so that every platform computes the same bits.

use std::f64::consts::PI;

use super::config::{Ema, Schedule, TrainingConfig};

/// Learning rate of `step`: from 0 in a straight line to the peak, then half a cosine towards the floor, which begins at the
/// peak on the first step after the warm-up. BootMAE's line reaches the peak on the last warm-up step too (a warm-up of a
/// single step is at the peak), MAE's does not. Steps past the end of the run stay on the floor.
pub fn learning_rate(step: u64, training: &TrainingConfig) -> f64 {
    let (peak, floor, warmup) = (training.peak_rate(), training.floor_rate(), training.warmup());
    if step >= training.steps {
        return floor;
    }
    match training.schedule {
        Schedule::Mae => {
            return rate_at_epoch(step as f64, warmup as f64, training.steps as f64, peak, floor);
        }
        Schedule::Bootmae if step < warmup && warmup == 1 => return peak,
        Schedule::Bootmae if step < warmup => return peak * step as f64 / (warmup - 1) as f64,
        Schedule::Bootmae => {}
    }
    let done = (step - warmup) as f64 / (training.steps - warmup) as f64;
    floor + 0.5 * (peak - floor) * (1.0 + libm::cos(PI * done))
}

/// Learning rate of MAE's rule at an epoch with its fraction, steps done by steps of an epoch (or all in steps): from 0 in a straight
/// line to the peak, reached on the first step after the warm-up, then half a cosine to the floor.
pub fn rate_at_epoch(epoch: f64, warmup_epochs: f64, epochs: f64, peak: f64, floor: f64) -> f64 {
    if epoch < warmup_epochs {
        return peak * epoch / warmup_epochs;
    }
    floor + 0.5 * (peak - floor) * (1.0 + libm::cos(PI * (epoch - warmup_epochs) / (epochs - warmup_epochs)))
}

/// Share of the teacher that the moving average after `step` keeps.
pub fn ema_decay(step: u64, training: &TrainingConfig) -> f64 {
    match training.ema {
        Ema::Scaled => scaled_decay(step, training.steps, 0.4),
        Ema::ScaledConstant => scaled_decay(step, training.steps, 0.04),
        Ema::Share => (1.0 - 1.0 / (0.08 * training.steps as f64)).max(0.99),
        Ema::Fixed { decay } => decay,
        Ema::Published { steps_per_epoch, first_mark_epochs, second_mark_epochs, dynamic } => {
            let (epoch, first) = ((step / steps_per_epoch) as f64, first_mark_epochs as f64);
            let rise = second_mark_epochs as f64 - first;
            if epoch < first {
                0.999 + epoch / first * (0.9999 - 0.999)
            } else if dynamic {
                0.9999 + (epoch - first).min(rise) / rise * (0.99999 - 0.9999)
            } else {
                0.9999
            }
        }
    }
}

/// The decay 1 − 1/(τN) of a run of N steps, at least 0.99: τ, the averaging time as a share of the run, goes from 0.004
/// to 0.04 over the first eighth and to `last` by the middle. The floor keeps the teacher of a short run from collapsing.
fn scaled_decay(step: u64, steps: u64, last: f64) -> f64 {
    let done = step as f64 / steps as f64;
    let share = |from: f64, to: f64| ((done - from) / (to - from)).clamp(0.0, 1.0);
    let tau = 0.004 + (0.04 - 0.004) * share(0.0, 0.125) + (last - 0.04) * share(0.125, 0.5);
    (1.0 - 1.0 / (tau * steps as f64)).max(0.99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-12 * want.abs().max(1e-3), "{got} is not {want}");
    }

    fn of_steps(steps: u64) -> TrainingConfig {
        TrainingConfig { steps, ..TrainingConfig::default() }
    }

    #[test]
    fn the_rate_reaches_its_peak_on_the_last_warm_up_step() {
        let training = TrainingConfig {
            warmup_steps: Some(5),
            peak_learning_rate: Some(1e-3),
            min_learning_rate: Some(1e-4),
            ..of_steps(13)
        };
        let rate = |step| learning_rate(step, &training);
        for (step, want) in [(0, 0.0), (1, 2.5e-4), (3, 7.5e-4), (4, 1e-3), (5, 1e-3)] {
            close(rate(step), want);
        }
    }

    #[test]
    fn maes_rate_reaches_its_peak_after_the_warm_up() {
        let (schedule, min_learning_rate) = (Schedule::Mae, Some(0.0));
        let training = TrainingConfig { schedule, warmup_steps: Some(5), min_learning_rate, ..of_steps(13) };
        let share = |step| learning_rate(step, &training) / training.peak_rate();
        for (step, want) in [(0, 0.0), (1, 0.2), (4, 0.8), (5, 1.0), (9, 0.5), (13, 0.0)] {
            close(share(step), want);
        }
    }

    #[test]
    fn the_rate_falls_in_half_a_cosine_over_the_steps_after_the_warm_up() {
        let training = TrainingConfig {
            warmup_steps: Some(5),
            peak_learning_rate: Some(1e-3),
            min_learning_rate: Some(1e-4),
            ..of_steps(13)
        };
        let rate = |step| learning_rate(step, &training);
        close(rate(7), 1e-4 + 4.5e-4 * (1.0 + 0.5f64.sqrt()));
        close(rate(9), 5.5e-4);
        close(rate(11), 1e-4 + 4.5e-4 * (1.0 - 0.5f64.sqrt()));
        assert!(rate(12) > 1e-4 && rate(12) < rate(11), "the last step of the run is still above the floor");
        close(rate(13), 1e-4);
        close(rate(1000), 1e-4);
    }

    #[test]
    fn degenerate_warm_ups_stay_finite() {
        let rate = |steps, warmup, step| {
            let training = TrainingConfig { warmup_steps: Some(warmup), ..of_steps(steps) };
            learning_rate(step, &training) / training.peak_rate()
        };
        close(rate(4, 0, 0), 1.0);
        close(rate(4, 1, 0), 1.0);
        close(rate(1, 1, 0), 1.0);
        close(rate(4, 4, 3), 1.0);
        close(rate(4, 4, 4), 1.0 / 24.0);
    }

    #[test]
    fn five_per_cent_of_the_run_warm_up() {
        let training = of_steps(2000);
        close(learning_rate(98, &training), training.peak_rate() * 98.0 / 99.0);
        close(learning_rate(99, &training), training.peak_rate());
    }

    #[test]
    fn published_decay_has_its_marks_at_epochs_100_and_400() {
        let of = |dynamic, step| {
            let ema = Ema::Published { steps_per_epoch: 312, first_mark_epochs: 100, second_mark_epochs: 400, dynamic };
            ema_decay(step, &TrainingConfig { ema, ..of_steps(249_912) })
        };
        for (epoch, want) in [(0, 0.999), (50, 0.99945), (100, 0.9999), (250, 0.999945), (400, 0.99999), (800, 0.99999)]
        {
            close(of(true, epoch * 312), want);
            close(of(true, epoch * 312 + 311), want);
        }
        close(of(false, 50 * 312), 0.99945);
        close(of(false, 400 * 312), 0.9999);
    }

    #[test]
    fn scaled_decay_of_the_published_length_meets_the_published_constants() {
        let long = of_steps(250_000);
        for (step, want) in [(0, 0.999), (31_250, 0.9999), (125_000, 0.99999), (250_000, 0.99999)] {
            close(ema_decay(step, &long), want);
        }
        // Half-way up each ramp: τ = 0.022 and 0.22.
        close(ema_decay(15_625, &long), 1.0 - 1.0 / 5500.0);
        close(ema_decay(78_125, &long), 1.0 - 1.0 / 55_000.0);
        let large = TrainingConfig { ema: Ema::ScaledConstant, ..long };
        close(ema_decay(31_250, &large), 0.9999);
        close(ema_decay(250_000, &large), 0.9999);
    }

    #[test]
    fn scaled_decay_of_a_short_run_has_a_floor() {
        let short = of_steps(2000);
        close(ema_decay(0, &short), 0.99);
        close(ema_decay(250, &short), 0.99);
        close(ema_decay(625, &short), 1.0 - 1.0 / 440.0);
        close(ema_decay(1000, &short), 1.0 - 1.0 / 800.0);
    }

    #[test]
    fn a_fixed_decay_does_not_move() {
        let training = TrainingConfig { ema: Ema::Fixed { decay: 0.97 }, ..of_steps(10) };
        assert_eq!((ema_decay(0, &training), ema_decay(9, &training)), (0.97, 0.97));
    }
}
