//! Replays a plan: buffers, bind groups and pipelines are made once, a run only records dispatches.

use std::rc::Rc;

use super::arenas::{Arenas, copy_range, read_range};
use crate::{
    device::{Device, EIGHT_VALUES, Readback},
    error::{Error, Result},
    lower::{Plan, Range, Storage},
    shape::DType,
};

/// Uniform offsets must be multiples of this in WebGPU's default limits.
const PARAMS_ALIGNMENT: usize = 256;

pub(super) struct Step {
    pipeline: Rc<wgpu::ComputePipeline>,
    bindings: wgpu::BindGroup,
    groups: [u32; 3],
    /// [`Planned::seconds`](crate::lower::Planned::seconds).
    pub(super) seconds: f64,
}

impl Step {
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        let [x, y, z] = self.groups;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// A plan with its buffers, bind groups and pipelines.
pub struct Executor {
    pub(super) plan: Plan,
    pub(super) buffers: Vec<wgpu::Buffer>,
    pub(super) steps: Vec<Step>,
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
            Storage::Arena { arena, shard } => Ok(arenas.shard(arena, *shard).clone()),
        });
        let buffers: Vec<_> = buffers.collect::<Result<_>>()?;
        check_limits(device, &plan)?;
        let refused = device.compile(plan.dispatches.iter().map(|d| (d.kernel, &d.constants[..]))).await;
        let (params, places) = params_buffer(device, &plan);
        let steps = plan.dispatches.iter().zip(places).map(|(d, place)| {
            let pipeline = device.pipeline(d.kernel, &d.constants);
            let uniform = wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &params,
                    offset: place.start as u64,
                    size: std::num::NonZeroU64::new(place.len() as u64),
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

    /// Seconds that the plan takes at most on any GPU worth training on, see [`Planned::seconds`](crate::lower::Planned::seconds).
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

/// The parameters of all dispatches, and where those of each stand.
fn params_buffer(device: &Device, plan: &Plan) -> (wgpu::Buffer, Vec<std::ops::Range<usize>>) {
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for d in &plan.dispatches {
        let first = bytes.len();
        bytes.extend(&d.params);
        bytes.resize(first + d.params.len().max(1).next_multiple_of(PARAMS_ALIGNMENT), 0);
        places.push(first..bytes.len());
    }
    bytes.resize(bytes.len().max(PARAMS_ALIGNMENT), 0);
    let buffer = device.raw.create_buffer(&wgpu::BufferDescriptor {
        label: Some("params"),
        size: bytes.len() as u64,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    device.queue.write_buffer(&buffer, 0, &bytes);
    (buffer, places)
}

/// Names the first limit that a plan exceeds.
pub(crate) fn check_limits(device: &Device, plan: &Plan) -> Result<()> {
    let name = &device.adapter().name;
    for d in &plan.dispatches {
        let groups = *d.groups.iter().max().expect("three axes");
        if groups > device.max_groups() {
            return Err(Error::Gpu(format!(
                "{} in `{}` needs {groups} workgroups on an axis; {name} allows max_compute_workgroups_per_dimension = {}",
                d.kernel.label(),
                d.path,
                device.max_groups()
            )));
        }
        if let Some(range) = d.ranges.iter().find(|r| r.bytes > device.max_binding_bytes()) {
            return Err(Error::Gpu(format!(
                "{} in `{}` binds {} bytes; {name} allows max_storage_buffer_binding_size = {}. Use a smaller batch",
                d.kernel.label(),
                d.path,
                range.bytes,
                device.max_binding_bytes()
            )));
        }
    }
    Ok(())
}
