//! How the chosen variants stand beside all others.

use super::{
    Clock, fastest,
    subject::Subject,
    thresholds::{HOPELESS, PATIENCE},
};
use crate::{
    device::Device,
    error::Result,
    kernels::{Tuning, Variant, Work},
};

/// Every candidate's rate for one computation of a step, beside the chosen one's.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The computation.
    pub work: Work,
    /// What the tuning chose for its class.
    pub chosen: Variant,
    /// Each candidate with its rate in GFLOP/s.
    pub rates: Vec<(Variant, f64)>,
}

impl Comparison {
    /// The chosen variant's rate over the best one's.
    pub fn share(&self) -> f64 {
        let best = self.rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        let chosen = self.rates.iter().find(|(variant, _)| *variant == self.chosen).map_or(0.0, |(_, rate)| *rate);
        chosen / best
    }
}

/// Measures all candidates for each different computation among `work`, in turn and more patiently than a tuning does.
pub async fn compare(
    device: &Device,
    work: Vec<Work>,
    tuning: &Tuning,
    clock: Clock<'_>,
    mut on: impl FnMut(&Comparison),
) -> Result<()> {
    let mut different: Vec<Work> = Vec::new();
    for one in work {
        if !different.contains(&one) {
            different.push(one);
        }
    }
    for work in different {
        let chosen = tuning.variant(&work);
        let subject = Subject::sized(device, &work, chosen, true, clock).await?;
        let mut best: Vec<_> = work.candidates(device).into_iter().map(|variant| (variant, f64::INFINITY)).collect();
        if !best.iter().any(|(variant, _)| *variant == chosen) {
            best.push((chosen, f64::INFINITY));
        }
        subject.warm(device, chosen, clock).await?;
        for _ in 0..PATIENCE {
            let limit = fastest(&best) * HOPELESS;
            for (variant, seconds) in best.iter_mut().filter(|(_, seconds)| *seconds <= limit || limit.is_infinite()) {
                *seconds = subject.seconds(device, *variant, limit, clock).await?.min(*seconds);
            }
        }
        let rate = |seconds: f64| subject.work.flops() / seconds / 1e9;
        let rates = best.into_iter().map(|(variant, seconds)| (variant, rate(seconds))).collect();
        on(&Comparison { work, chosen, rates });
    }
    Ok(())
}
