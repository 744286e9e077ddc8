//! Buffers that outlast plans.

use std::collections::BTreeMap;

use crate::{
    device::{Device, Readback},
    error::Result,
};

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

    /// Records the copy of a range of a shard to `to` in a readback.
    pub(crate) fn record_copy(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        (arena, shard): (&'static str, usize),
        (offset, bytes): (u64, u64),
        (readback, to): (&Readback, u64),
    ) {
        readback.copy(encoder, &self.shards[&(arena, shard)], offset, bytes, to);
    }

    /// A shard's buffer.
    pub(super) fn shard(&self, arena: &'static str, shard: usize) -> &wgpu::Buffer {
        &self.shards[&(arena, shard)]
    }

    /// Total size in bytes.
    pub fn bytes(&self) -> u64 {
        self.shards.values().map(wgpu::Buffer::size).sum()
    }
}

/// Submits a copy of a range of a buffer as it now is.
pub(super) fn copy_range(device: &Device, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Readback {
    let readback = Readback::new(device, "read", bytes);
    let mut encoder = device.raw.create_command_encoder(&Default::default());
    readback.copy(&mut encoder, buffer, offset, bytes, 0);
    readback.submit(device, encoder);
    readback
}

/// Reads a range of a buffer back.
pub(super) async fn read_range(device: &Device, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
    let mut contents = copy_range(device, buffer, offset, bytes).take(device).await?;
    contents.truncate(bytes as usize);
    Ok(contents)
}
