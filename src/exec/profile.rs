//! When each dispatch of a plan ran.

use super::Executor;
use crate::{
    device::{Device, Timer},
    error::Result,
};

/// When a dispatch ran, in seconds after the first one began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// When it began.
    pub begin: f64,
    /// When it ended.
    pub end: f64,
}

/// Runs plans one after another with a pass per dispatch and returns when each dispatch of each plan ran, or nothing
/// without timestamps. The host waits only at the end, so that no gap between dispatches is of its making.
pub async fn profile(device: &Device, executors: &[&Executor]) -> Result<Option<Vec<Vec<Span>>>> {
    let timers: Option<Vec<Vec<Timer>>> = executors.iter().map(|executor| executor.submit_timed(device)).collect();
    let Some(timers) = timers else { return Ok(None) };
    let mut plans: Vec<Vec<[u64; 2]>> = Vec::new();
    for timers in &timers {
        let mut ticks = Vec::new();
        for timer in timers {
            ticks.extend(timer.take(device).await?);
        }
        plans.push(ticks);
    }
    let first = plans.iter().flatten().map(|t| t[0]).min().unwrap_or_default();
    let seconds = |tick: u64| tick.saturating_sub(first) as f64 * device.tick_seconds();
    let span = |[begin, end]: &[u64; 2]| Span { begin: seconds(*begin), end: seconds(*end) };
    Ok(Some(plans.iter().map(|ticks| ticks.iter().map(span).collect()).collect()))
}

impl Executor {
    /// Runs the plan once with a pass per dispatch. The timers hold the passes in order; nothing without timestamps.
    fn submit_timed(&self, device: &Device) -> Option<Vec<Timer>> {
        let timed = self.steps.chunks(2048).map(|steps| {
            let timer = Timer::new(device, steps.len() as u32)?;
            let mut encoder = device.raw.create_command_encoder(&Default::default());
            for (index, step) in steps.iter().enumerate() {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: None,
                    timestamp_writes: Some(timer.writes(index as u32)),
                });
                step.record(&mut pass);
            }
            timer.submit(device, encoder);
            Some(timer)
        });
        timed.collect()
    }
}
