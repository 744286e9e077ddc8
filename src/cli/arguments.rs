//! Flags that several verbs have.

use clap::Args;

use super::{
    numbers::{MOST, whole},
    terminal::errln,
};
use crate::{
    device::{Device, DeviceOptions, adapters, of_process},
    dist::World,
    error::Result,
};

#[derive(Args, Debug)]
pub(super) struct AdapterArguments {
    /// The adapter's index in `bootmae doctor`, or part of its name; digits alone are an index.
    #[arg(long, value_name = "NAME")]
    pub(super) adapter: Option<String>,
}

impl AdapterArguments {
    /// Opens the adapter and names it on standard error.
    pub(super) fn open(&self) -> Result<Device> {
        AdapterArguments::opened(self.adapter.clone())
    }

    /// The same for one of several processes: without `--adapter` each takes a GPU of its own, or one that `shared` allows.
    pub(super) fn open_for(&self, world: &World, shared: bool) -> Result<Device> {
        let own = match &self.adapter {
            None if world.size() > 1 => {
                of_process(&pollster::block_on(adapters()), world.local(), shared)?.map(|index| index.to_string())
            }
            named => named.clone(),
        };
        AdapterArguments::opened(own)
    }

    fn opened(adapter: Option<String>) -> Result<Device> {
        let options = DeviceOptions { adapter, ..Default::default() };
        let device = pollster::block_on(Device::open(&options))?;
        errln!("adapter: {}", device.adapter());
        Ok(device)
    }

    /// What a person should know who did not ask for a software adapter and got one.
    pub(super) fn remark(&self, device: &Device) -> Option<String> {
        let asked = self.adapter.as_ref().is_some_and(|name| !name.trim().is_empty());
        (device.adapter().is_software() && !asked).then(|| {
            let driver = if cfg!(target_os = "linux") {
                " with a Vulkan driver (NVIDIA's own package, for AMD and Intel mesa-vulkan-drivers; in a container \
                 NVIDIA_DRIVER_CAPABILITIES must name graphics)"
            } else {
                ""
            };
            format!(
                "WARNING: no GPU was found. {} is software: it computes on the processor, some 10 to 1000 times slower than \
                 a GPU{driver} would. `bootmae doctor` lists adapters; --adapter {} takes this one without a warning",
                device.adapter().name,
                device.adapter().name.split_whitespace().next().unwrap_or("0")
            )
        })
    }
}

/// Sizes of a model on the command line.
#[derive(Args, Debug)]
pub(super) struct ModelArguments {
    /// Preset: nano, tiny, small, base or large; mae-nano to mae-large for MAE instead of BootMAE.
    #[arg(long, value_name = "PRESET")]
    pub(super) model: Option<String>,
    /// Side of the square input in pixels.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST))]
    pub(super) image_size: Option<usize>,
    /// Side of a patch in pixels.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST))]
    pub(super) patch_size: Option<usize>,
}

impl ModelArguments {
    /// The flags as the `[model]` table of a configuration.
    pub(super) fn table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        let sizes = [("image_size", self.image_size), ("patch_size", self.patch_size)];
        for (key, value) in sizes.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            table.insert(key.into(), (value as i64).into());
        }
        table
    }
}

/// `upper`'s sections laid over `lower`'s; an image size there takes the place of both sides here.
pub(super) fn overlay(mut lower: toml::Table, upper: toml::Table) -> toml::Table {
    for (section, keys) in upper {
        lower.entry(section.clone()).or_insert_with(|| toml::Table::new().into());
        let (Some(toml::Value::Table(held)), toml::Value::Table(keys)) = (lower.get_mut(&section), keys) else {
            continue;
        };
        if keys.contains_key("image_size") {
            held.retain(|key, _| key != "image_height" && key != "image_width");
        }
        held.extend(keys);
    }
    lower
}
