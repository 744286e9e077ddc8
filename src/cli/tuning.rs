//! Which kernel variants a command trains with: those measured before, or measured now, or the built-in table's.

use std::time::Instant;

use clap::Args;

use super::terminal::errln;
use crate::{
    device::Device,
    error::Result,
    kernels::{Tuning, Work},
    lower::Precision,
    train::tune::{self, Need, cache, cache::Cache},
};

/// Switches measuring off, as `--no-tune` does, when it is set to anything but nothing or 0.
const NO_TUNE: &str = "BOOTMAE_NO_TUNE";

#[derive(Args, Debug)]
pub struct TuningArguments {
    /// Take kernel variants from the built-in table; measure nothing and read no earlier measurements.
    #[arg(long)]
    no_tune: bool,
}

impl TuningArguments {
    /// The variants for a step of this precision that computes `work`. Choices that are missing from the cache, or all of
    /// them if `afresh`, are measured, printed on standard error and kept.
    pub fn settle(&self, device: &Device, work: Vec<Work>, precision: Precision, afresh: bool) -> Result<Tuning> {
        let (tuning, built_in) = (self.measured(device, work, afresh)?, Tuning::for_device(device));
        Ok(if precision == Precision::F16 { tuning.storing_f16(&built_in) } else { tuning })
    }

    fn measured(&self, device: &Device, work: Vec<Work>, afresh: bool) -> Result<Tuning> {
        let mut tuning = Tuning::for_device(device);
        let forbidden = std::env::var_os(NO_TUNE).is_some_and(|value| !value.is_empty() && value != "0");
        if self.no_tune || (forbidden && !afresh) {
            return Ok(tuning);
        }
        let path = cache::path();
        let mut cache = path.as_ref().map(|path| Cache::load(path, cache::key(device))).unwrap_or_default();
        let mut needs = tune::needs(work, |work| work.candidates(device).len());
        if !afresh {
            needs.retain(|need: &Need| match cache.get(&need.work, &need.work.candidates(device)) {
                Some(variant) => {
                    need.choose(&mut tuning, variant);
                    false
                }
                None => true,
            });
        }
        if needs.is_empty() {
            return Ok(tuning);
        }
        errln!("measuring kernel variants, up to {:.0} s (--no-tune skips this)", tune::BUDGET_S);
        let began = Instant::now();
        let clock = || began.elapsed().as_secs_f64();
        let mut chosen = 0;
        pollster::block_on(tune::tune(device, &needs, &mut tuning, tune::BUDGET_S, &clock, |choice| {
            if choice.of_class || choice.variant != choice.before {
                errln!("tuned {choice}");
            }
            chosen += 1;
            if choice.measured != 1 {
                cache.put(&choice.work, choice.variant);
            }
        }))?;
        if chosen < needs.len() {
            let left = needs.len() - chosen;
            errln!("{left} of {} choices rest on no measurement of their own: time was up", needs.len());
        }
        if let Some(path) = path
            && let Err(error) = cache.save(&path)
        {
            tracing::warn!("the measurements are not kept: {error}");
        }
        Ok(tuning)
    }
}
