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

    /// Ends and submits the commands and returns the duration of each pass in seconds.
    pub(crate) async fn submit(&self, device: &Device, mut encoder: wgpu::CommandEncoder) -> Result<Vec<f64>> {
        encoder.resolve_query_set(&self.queries, 0..self.passes * 2, &self.resolved, 0);
        self.readback.copy(&mut encoder, &self.resolved, 0, u64::from(self.passes) * 16, 0);
        self.readback.submit(device, encoder);
        let bytes = self.readback.take(device).await?;
        let ticks: Vec<u64> =
            bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("8 bytes"))).collect();
        let period = f64::from(device.queue.get_timestamp_period()) * 1e-9;
        Ok(ticks.chunks_exact(2).map(|t| t[1].saturating_sub(t[0]) as f64 * period).collect())
    }
}
