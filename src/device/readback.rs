//! Reading buffers back without stalling the queue.

use std::{
    cell::RefCell,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

use super::Device;
use crate::error::{Error, Result};

/// A staging buffer whose contents are asked for once and taken once, perhaps several steps later.
pub struct Readback {
    staging: wgpu::Buffer,
    state: Arc<Mutex<State>>,
    pending: RefCell<Option<wgpu::SubmissionIndex>>,
}

#[derive(Default)]
struct State {
    result: Option<Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

impl Readback {
    /// Room for `bytes` bytes (rounded up to 4).
    pub fn new(device: &Device, label: &str, bytes: u64) -> Readback {
        let staging = device.raw.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.max(4).next_multiple_of(4),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        Readback { staging, state: Arc::default(), pending: RefCell::default() }
    }

    /// Records the copy of `bytes` bytes at `offset` of `source`.
    pub(crate) fn copy(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        source: &wgpu::Buffer,
        offset: u64,
        bytes: u64,
        to: u64,
    ) {
        encoder.copy_buffer_to_buffer(source, offset, &self.staging, to, bytes);
    }

    /// Submits the commands that hold the copies and asks for the contents.
    pub(crate) fn submit(&self, device: &Device, encoder: wgpu::CommandEncoder) {
        let submission = device.queue.submit([encoder.finish()]);
        *self.pending.borrow_mut() = Some(submission);
        let state = self.state.clone();
        self.staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            let mut state = state.lock().expect("no panic while held");
            state.result = Some(result);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        });
    }

    /// Whether contents were asked for and not taken yet.
    pub fn is_pending(&self) -> bool {
        self.pending.borrow().is_some()
    }

    /// Waits for the contents and takes them, so that the buffer can be used again.
    pub async fn take(&self, device: &Device) -> Result<Vec<u8>> {
        let submission = self.pending.borrow_mut().take();
        device.wait_for(submission)?;
        let state = self.state.clone();
        let mapped = poll_fn(move |context| {
            let mut state = state.lock().expect("no panic while held");
            match state.result.take() {
                Some(result) => Poll::Ready(result),
                None => {
                    state.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        mapped.map_err(|e| {
            // When a browser's GPU process dies, this is all that is heard of it.
            device.fault.note_lost(&format!("reading back failed: {e}; the device may be lost"));
            Error::Gpu(format!("reading back failed: {e}; the device may be lost"))
        })?;
        let view = self.staging.slice(..).get_mapped_range();
        let bytes = view.map_err(|e| Error::Gpu(format!("reading back failed: {e}")))?.to_vec();
        self.staging.unmap();
        device.check()?;
        Ok(bytes)
    }
}

/// A browser frees a buffer only once it collects its JavaScript object: by then many copies of a state may be held.
#[cfg(target_arch = "wasm32")]
impl Drop for Readback {
    fn drop(&mut self) {
        self.staging.destroy();
    }
}
