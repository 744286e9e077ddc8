//! GPU timestamps at the bounds of compute passes.

use super::{Device, Readback};
use crate::error::Result;

/// Begin and end times of up to a fixed number of compute passes.
pub struct Timer {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readback: Readback,
    passes: u32,
}

impl Timer {
    /// A timer for at most `passes` passes (2,048 at most), or nothing when the adapter has no timestamps.
    pub fn new(device: &Device, passes: u32) -> Option<Timer> {
        if !device.has_timestamps() || passes == 0 || passes > 2048 {
            return None;
        }
        let bytes = u64::from(passes) * 16;
        let queries = device.raw.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("pass times"),
            ty: wgpu::QueryType::Timestamp,
            count: passes * 2,
        });
        let resolved = device.raw.create_buffer(&wgpu::BufferDescriptor {
            label: Some("pass times"),
            size: bytes,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Some(Timer { queries, resolved, readback: Readback::new(device, "pass times", bytes), passes })
    }

    /// The timestamp writes of pass number `index`.
    pub(crate) fn writes(&self, index: u32) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(index * 2),
            end_of_pass_write_index: Some(index * 2 + 1),
        }
    }

    /// Ends and submits the commands; [`Timer::take`] waits for their times.
    pub(crate) fn submit(&self, device: &Device, mut encoder: wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..self.passes * 2, &self.resolved, 0);
        self.readback.copy(&mut encoder, &self.resolved, 0, u64::from(self.passes) * 16, 0);
        self.readback.submit(device, encoder);
    }

    /// Begin and end of each pass in ticks of the queue, of which [`Device::tick_seconds`] gives the length.
    pub(crate) async fn take(&self, device: &Device) -> Result<Vec<[u64; 2]>> {
        let bytes = self.readback.take(device).await?;
        let ticks: Vec<u64> =
            bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("8 bytes"))).collect();
        Ok(ticks.chunks_exact(2).map(|t| [t[0], t[1]]).collect())
    }
}
