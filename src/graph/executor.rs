//! Replays a plan: buffers, bind groups and pipelines are made once, a run only records dispatches.

use std::{collections::BTreeMap, rc::Rc};

use super::{DType, Plan, Storage, plan::Range};
use crate::{
    device::{Device, EIGHT_VALUES, Readback, Timer},
    error::{Error, Result},
};

/// Uniform offsets must be multiples of this in WebGPU's default limits.
const PARAMS_STRIDE: u64 = 256;

/// Buffers that outlast plans (weights, moments, …), by arena and shard.
#[derive(Default)]
pub struct Arenas {
    shards: BTreeMap<(&'static str, usize), wgpu::Buffer>,
}

impl Arenas {
    /// Adds a zeroed shard of `bytes` bytes.
    pub fn add(&mut self, device: &Device, arena: &'static str, shard: usize, bytes: u64) -> Result<()> {
        let buffer = device.buffer(&format!("{arena}.{shard}"), bytes)?;
        self.shards.insert((arena, shard), buffer);
        Ok(())
    }

    /// Writes bytes into a shard.
    pub fn write(&self, device: &Device, arena: &'static str, shard: usize, offset: u64, bytes: &[u8]) {
        device.queue.write_buffer(&self.shards[&(arena, shard)], offset, bytes);
    }

    /// Reads a whole shard back.
    pub async fn read(&self, device: &Device, arena: &'static str, shard: usize) -> Result<Vec<u8>> {
        let buffer = &self.shards[&(arena, shard)];
        read_range(device, buffer, 0, buffer.size()).await
    }

    /// Submits a copy of a whole shard as it now is, to be taken later; what is submitted afterwards does not change it.
    pub fn copy(&self, device: &Device, arena: &'static str, shard: usize) -> Readback {
        let buffer = &self.shards[&(arena, shard)];
        copy_range(device, buffer, 0, buffer.size())
    }

    /// Total size in bytes.
    pub fn bytes(&self) -> u64 {
        self.shards.values().map(wgpu::Buffer::size).sum()
    }
}

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

struct Step {
    pipeline: Rc<wgpu::ComputePipeline>,
    bindings: wgpu::BindGroup,
    groups: [u32; 3],
    /// [`Planned::seconds`](super::Planned::seconds).
    seconds: f64,
}

impl Step {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        let [x, y, z] = self.groups;
        pass.dispatch_workgroups(x, y, z);
    }
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
        let mut rest = &executor.steps[..];
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
}

/// A plan with its buffers, bind groups and pipelines.
pub struct Executor {
    plan: Plan,
    buffers: Vec<wgpu::Buffer>,
    steps: Vec<Step>,
}

impl Executor {
    /// Allocates the plan's buffers and compiles its pipelines. Fails naming the limit when the device's are too small
    /// or memory runs out.
    pub async fn new(device: &Device, plan: Plan, arenas: &Arenas) -> Result<Executor> {
        let memory = device.raw.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = device.raw.push_error_scope(wgpu::ErrorFilter::Validation);
        let buffers = plan.buffers.iter().enumerate().map(|(index, storage)| match storage {
            Storage::Input { name, bytes } => device.buffer(name, *bytes),
            Storage::Pool { bytes } => device.buffer(&format!("scratch {index}"), *bytes),
            Storage::Arena { arena, shard } => Ok(arenas.shards[&(*arena, *shard)].clone()),
        });
        let buffers: Vec<_> = buffers.collect::<Result<_>>()?;
        check_limits(device, &plan)?;
        let refused = device.compile(plan.dispatches.iter().map(|d| (d.kernel, &d.constants[..]))).await;
        let params = params_buffer(device, &plan);
        let steps = plan.dispatches.iter().enumerate().map(|(index, d)| {
            let pipeline = device.pipeline(d.kernel, &d.constants);
            let uniform = wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &params,
                    offset: index as u64 * PARAMS_STRIDE,
                    size: std::num::NonZeroU64::new(PARAMS_STRIDE),
                }),
            };
            let storage = d.kernel.bindings.iter().zip(&d.ranges).map(|(binding, range)| wgpu::BindGroupEntry {
                binding: binding.index,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &buffers[range.buffer],
                    offset: range.offset,
                    size: std::num::NonZeroU64::new(range.bytes.next_multiple_of(EIGHT_VALUES)),
                }),
            });
            let entries: Vec<_> = std::iter::once(uniform).chain(storage).collect();
            let bindings = device.raw.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&d.path),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            Step { pipeline, bindings, groups: d.groups, seconds: d.seconds() }
        });
        let steps = steps.collect();
        let failed = refused.or(validation.pop().await);
        let exhausted = memory.pop().await;
        if let Some(error) = exhausted {
            let bytes = plan.pool_bytes() + plan.input_bytes();
            return Err(Error::Gpu(format!(
                "out of memory while allocating {bytes} bytes; use a smaller batch ({error})"
            )));
        }
        if let Some(error) = failed {
            return Err(Error::Gpu(format!("{} refused the plan: {error}", device.adapter().name)));
        }
        Ok(Executor { plan, buffers, steps })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Writes an input. Panics when the plan has no input of that name and size, a programming error.
    pub fn write(&self, device: &Device, input: &str, bytes: &[u8]) {
        let range = self.plan.inputs.get(input).unwrap_or_else(|| panic!("the plan has no input `{input}`"));
        assert_eq!(range.bytes, bytes.len() as u64, "bytes of input `{input}`");
        device.queue.write_buffer(&self.buffers[range.buffer], range.offset, bytes);
    }

    /// Fills scratch with NaN, so that a value which a kernel should have written, and did not, shows.
    pub fn spoil(&self, device: &Device) {
        for (buffer, storage) in self.buffers.iter().zip(&self.plan.buffers) {
            if let Storage::Pool { .. } = storage {
                device.queue.write_buffer(buffer, 0, &vec![0xff; buffer.size() as usize]);
            }
        }
    }

    /// Seconds that the plan takes at most on any GPU worth training on, see [`Planned::seconds`](super::Planned::seconds).
    pub(crate) fn seconds(&self) -> f64 {
        self.steps.iter().map(|step| step.seconds).sum()
    }

    /// Whether the plan reads an input of this name.
    pub fn has_input(&self, input: &str) -> bool {
        self.plan.inputs.contains_key(input)
    }

    /// Records the copy of an output into `readback` at byte `to`.
    pub(crate) fn copy_output(&self, encoder: &mut wgpu::CommandEncoder, output: &str, readback: &Readback, to: u64) {
        let range = self.output(output);
        readback.copy(encoder, &self.buffers[range.buffer], range.offset, range.bytes, to);
    }

    /// Runs the plan once.
    pub fn run(&self, device: &Device) {
        self.repeat(device, 1);
    }

    /// Runs the plan several times.
    pub fn repeat(&self, device: &Device, times: usize) {
        let mut submits = Submits::new(device);
        (0..times).for_each(|_| submits.record(self));
        device.queue.submit([submits.finish().finish()]);
    }

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

    /// Reads an output of f32 values back.
    pub async fn read(&self, device: &Device, output: &str) -> Result<Vec<f32>> {
        self.read_as(device, output, DType::F32).await
    }

    /// Reads an output of floats of this type back.
    pub async fn read_as(&self, device: &Device, output: &str, dtype: DType) -> Result<Vec<f32>> {
        let range = self.output(output);
        let bytes = read_range(device, &self.buffers[range.buffer], range.offset, range.bytes).await?;
        Ok(match dtype {
            DType::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            _ => bytemuck::pod_collect_to_vec(&bytes),
        })
    }

    /// Submits a copy of an output as it now is, to be taken later.
    pub fn copy(&self, device: &Device, output: &str) -> Readback {
        let range = self.output(output);
        copy_range(device, &self.buffers[range.buffer], range.offset, range.bytes)
    }

    fn output(&self, name: &str) -> Range {
        *self.plan.outputs.get(name).unwrap_or_else(|| panic!("the plan has no output `{name}`"))
    }
}

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

fn copy_range(device: &Device, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Readback {
    let readback = Readback::new(device, "read", bytes);
    let mut encoder = device.raw.create_command_encoder(&Default::default());
    readback.copy(&mut encoder, buffer, offset, bytes, 0);
    readback.submit(device, encoder);
    readback
}

async fn read_range(device: &Device, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
    let mut contents = copy_range(device, buffer, offset, bytes).take(device).await?;
    contents.truncate(bytes as usize);
    Ok(contents)
}

fn params_buffer(device: &Device, plan: &Plan) -> wgpu::Buffer {
    let mut bytes = vec![0u8; plan.dispatches.len().max(1) * PARAMS_STRIDE as usize];
    for (slot, d) in bytes.chunks_exact_mut(PARAMS_STRIDE as usize).zip(&plan.dispatches) {
        slot[..d.params.len()].copy_from_slice(&d.params);
    }
    let buffer = device.raw.create_buffer(&wgpu::BufferDescriptor {
        label: Some("params"),
        size: bytes.len() as u64,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    device.queue.write_buffer(&buffer, 0, &bytes);
    buffer
}

/// Names the first limit that a plan exceeds.
pub(crate) fn check_limits(device: &Device, plan: &Plan) -> Result<()> {
    let name = &device.adapter().name;
    for d in &plan.dispatches {
        let groups = *d.groups.iter().max().expect("three axes");
        if groups > device.max_groups() {
            return Err(Error::Gpu(format!(
                "{} in `{}` needs {groups} workgroups on an axis; {name} allows max_compute_workgroups_per_dimension = {}",
                d.kernel.name(),
                d.path,
                device.max_groups()
            )));
        }
        if let Some(range) = d.ranges.iter().find(|r| r.bytes > device.max_binding_bytes()) {
            return Err(Error::Gpu(format!(
                "{} in `{}` binds {} bytes; {name} allows max_storage_buffer_binding_size = {}. Use a smaller batch",
                d.kernel.name(),
                d.path,
                range.bytes,
                device.max_binding_bytes()
            )));
        }
    }
    Ok(())
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
