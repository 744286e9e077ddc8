//! How the dispatches of plans are divided among submits.

use std::ops::Range;

use super::Executor;
use crate::device::Device;

/// How many of the next dispatches an open submit of so many `seconds` still takes below `bound`; an empty one takes at
/// least one.
fn fitting(bound: f64, seconds: &mut f64, next: impl Iterator<Item = f64>) -> usize {
    let mut taken = 0;
    for one in next {
        if *seconds > 0.0 && *seconds + one > bound {
            break;
        }
        *seconds += one;
        taken += 1;
    }
    taken
}

/// Records plans one after another into as few submits as the device's bound on one allows; all but the last are submitted on the
/// way, so that a GPU can show a picture in between and no watchdog barks.
pub(crate) struct Submits<'a> {
    device: &'a Device,
    encoder: wgpu::CommandEncoder,
    seconds: f64,
}

impl<'a> Submits<'a> {
    /// Nothing recorded yet.
    pub(crate) fn new(device: &'a Device) -> Submits<'a> {
        Submits { device, encoder: device.raw.create_command_encoder(&Default::default()), seconds: 0.0 }
    }

    /// Records writes of the inputs of plans, before whatever is recorded next. An input that a plan does not read is left
    /// out. Panics when one has another size, a programming error.
    pub(crate) fn write<'b>(&mut self, inputs: &[(&'b Executor, &str, &'b [u8])]) {
        let place = |(executor, input, bytes): &(&'b Executor, &str, &'b [u8])| {
            let range = executor.plan.inputs.get(*input)?;
            assert_eq!(range.bytes, bytes.len() as u64, "bytes of input `{input}`");
            Some((&executor.buffers[range.buffer], range.offset, *bytes))
        };
        let writes: Vec<_> = inputs.iter().filter_map(place).collect();
        self.device.upload(&mut self.encoder, &writes);
    }

    /// Records every dispatch of a plan.
    pub(crate) fn record(&mut self, executor: &Executor) {
        self.record_part(executor, 0..executor.steps.len());
    }

    /// Records some dispatches of a plan.
    pub(crate) fn record_part(&mut self, executor: &Executor, part: Range<usize>) {
        let mut rest = &executor.steps[part];
        while !rest.is_empty() {
            let bound = self.device.submit_s();
            let now = fitting(bound, &mut self.seconds, rest.iter().map(|step| step.seconds));
            if now > 0 {
                let mut pass = self.encoder.begin_compute_pass(&Default::default());
                rest[..now].iter().for_each(|step| step.record(&mut pass));
            }
            rest = &rest[now..];
            if !rest.is_empty() {
                let next = self.device.raw.create_command_encoder(&Default::default());
                self.device.queue.submit([std::mem::replace(&mut self.encoder, next).finish()]);
                self.seconds = 0.0;
            }
        }
    }

    /// The last submit, still open for copies.
    pub(crate) fn finish(self) -> wgpu::CommandEncoder {
        self.encoder
    }

    /// Submits what is left.
    pub(crate) fn submit(self) {
        self.device.queue.submit([self.encoder.finish()]);
    }
}

impl Executor {
    /// Runs the plan once.
    pub fn run(&self, device: &Device) {
        self.repeat(device, 1);
    }

    /// Runs the plan several times.
    pub fn repeat(&self, device: &Device, times: usize) {
        let mut submits = Submits::new(device);
        (0..times).for_each(|_| submits.record(self));
        submits.submit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submit_ends_before_it_is_too_long() {
        let parts = |times: &[f64]| {
            let (mut rest, mut parts) = (times, Vec::new());
            while !rest.is_empty() {
                let now = fitting(0.2, &mut 0.0, rest.iter().copied());
                parts.push(now);
                rest = &rest[now..];
            }
            parts
        };
        assert_eq!(parts(&[0.05; 9]), [4, 4, 1]);
        assert_eq!(parts(&[0.1, 0.3, 0.0, 0.05]), [1, 1, 2], "a long dispatch is alone in its submit");
        assert_eq!(parts(&[0.0; 5]), [5]);
        assert_eq!(fitting(0.2, &mut 0.19, [0.02].into_iter()), 0, "what was recorded before counts");
    }
}
