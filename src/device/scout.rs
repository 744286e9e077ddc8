//! Mesa's software adapters compile a kernel when it first runs, one after another, and keep on the disk what they
//! compiled. So further devices, a thread each, run kernels beforehand, without a single workgroup.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::pipeline::Request;
use crate::kernels::{Binding, Kernel};

/// More than it takes to read a compiled kernel from the disk.
const COMPILED: Duration = Duration::from_millis(50);
/// The most processors used: more would wait for the slowest kernel.
const MOST: usize = 8;
/// At least as much as a kernel's `Params`, or an element of anything else that it binds.
const BYTES: u64 = 2048;

/// Has the driver compile these pipelines on all processors, as far as it has not before.
pub(super) async fn compile(
    (device, queue): (&wgpu::Device, &wgpu::Queue),
    (adapter, descriptor): &(wgpu::Adapter, wgpu::DeviceDescriptor<'static>),
    requests: &[Request],
    pipelines: &[wgpu::ComputePipeline],
) {
    let run = |index: usize| run(device, queue, requests[index].kernel, &pipelines[index]);
    let mut left = 0..requests.len();
    let first = left.find(|index| {
        let start = Instant::now();
        run(*index);
        start.elapsed() > COMPILED
    });
    if first.is_none() || left.len() < 2 {
        return;
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from).min(MOST);
    let mut scouts = Vec::new();
    for _ in 1..processors.min(left.len()) {
        let Ok(opened) = adapter.request_device(descriptor).await else { break };
        // What goes wrong there is no fault of this device: it compiles what it finds missing.
        opened.0.on_uncaptured_error(Arc::new(|_| ()));
        scouts.push(opened);
    }
    let left = Mutex::new(left);
    std::thread::scope(|scope| {
        for (raw, queue) in &scouts {
            scope.spawn(|| {
                while let Some(index) = { left.lock().expect("no panic while held").next_back() } {
                    self::run(raw, queue, requests[index].kernel, &requests[index].compile(raw));
                }
            });
        }
        while let Some(index) = { left.lock().expect("no panic while held").next() } {
            run(index);
        }
    });
}

/// Runs no workgroup of a pipeline.
fn run(device: &wgpu::Device, queue: &wgpu::Queue, kernel: &Kernel, pipeline: &wgpu::ComputePipeline) {
    let buffer = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size: BYTES, usage, mapped_at_creation: false })
    };
    let uniform = (0, buffer(wgpu::BufferUsages::UNIFORM));
    let storage = |binding: &Binding| (binding.index, buffer(wgpu::BufferUsages::STORAGE));
    let buffers: Vec<_> = std::iter::once(uniform).chain(kernel.bindings.iter().map(storage)).collect();
    let entries: Vec<_> = buffers
        .iter()
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding: *binding, resource: buffer.as_entire_binding() })
        .collect();
    let layout = &pipeline.get_bind_group_layout(0);
    let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(pipeline);
    pass.set_bind_group(0, &bindings, &[]);
    pass.dispatch_workgroups(0, 0, 0);
    drop(pass);
    let done = queue.submit([encoder.finish()]);
    // A device that is lost tells at its next use.
    let _ = device.poll(wgpu::PollType::Wait { submission_index: Some(done), timeout: None });
}
