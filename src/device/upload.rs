//! Writing buffers without an allocation each time: what is written lies in mapped buffers that come back once it is copied.

use std::sync::{Arc, Mutex};

/// What offsets in a mapped buffer are multiples of.
const ALIGNMENT: u64 = wgpu::MAP_ALIGNMENT;

/// Mapped buffers that no submit needs any more.
#[derive(Default)]
pub(super) struct Uploads {
    idle: Arc<Mutex<Vec<wgpu::Buffer>>>,
}

impl Uploads {
    /// Records the copies of `writes`, buffers, offsets and bytes; whether it could be done: not if the device is lost.
    pub(super) fn write(
        &self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        writes: &[(&wgpu::Buffer, u64, &[u8])],
    ) -> bool {
        let padded = |bytes: &[u8]| (bytes.len() as u64).next_multiple_of(ALIGNMENT);
        let size = writes.iter().map(|(_, _, bytes)| padded(bytes)).sum::<u64>().max(ALIGNMENT);
        let buffer = self.take(device, size);
        {
            let Ok(mut view) = buffer.slice(..).get_mapped_range_mut() else { return false };
            let mut at = 0;
            for (_, _, bytes) in writes {
                view.slice(at as usize..at as usize + bytes.len()).copy_from_slice(bytes);
                at += padded(bytes);
            }
        }
        buffer.unmap();
        let mut at = 0;
        for (to, offset, bytes) in writes {
            encoder.copy_buffer_to_buffer(&buffer, at, to, *offset, bytes.len() as u64);
            at += padded(bytes);
        }
        let (idle, back) = (self.idle.clone(), buffer.clone());
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Write, .., move |mapped| {
            if mapped.is_ok() {
                idle.lock().expect("no panic while held").push(back);
            }
        });
        true
    }

    /// A mapped buffer of this size.
    fn take(&self, device: &wgpu::Device, size: u64) -> wgpu::Buffer {
        let mut idle = self.idle.lock().expect("no panic while held");
        match idle.iter().position(|buffer| buffer.size() == size) {
            Some(index) => idle.swap_remove(index),
            None => device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("upload"),
                size,
                usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            }),
        }
    }
}
