//! Which adapters there are and which one a name means.

use crate::error::{Error, Result};

/// What shaders that use matrix units need.
pub(super) const MATRIX_UNITS: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);

/// What a person needs to know of an adapter.
#[derive(Clone, Debug, serde::Serialize)]
pub struct AdapterSummary {
    /// The name the driver gives, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`.
    pub name: String,
    /// Driver and version as the driver gives them.
    pub driver: String,
    /// Vulkan, Metal, Dx12 or BrowserWebGpu.
    pub backend: String,
    /// DiscreteGpu, IntegratedGpu, VirtualGpu, Cpu or Other.
    pub kind: String,
    /// Largest storage binding in bytes.
    pub max_storage_buffer_binding_size: u64,
    /// Largest buffer in bytes.
    pub max_buffer_size: u64,
    /// Storage buffers that one entry point may use.
    pub max_storage_buffers_per_shader_stage: u32,
    /// Workgroup memory in bytes.
    pub max_compute_workgroup_storage_size: u32,
    /// Invocations in one workgroup.
    pub max_compute_invocations_per_workgroup: u32,
    /// Memory of the adapter in bytes, where the interface tells: the largest local heap, through Vulkan.
    pub memory_bytes: Option<u64>,
    /// Features of interest that the adapter offers.
    pub features: Vec<String>,
}

impl std::fmt::Display for AdapterSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = [&self.backend, &self.kind, &self.driver].map(String::as_str);
        let known: Vec<_> = known.into_iter().filter(|text| !text.is_empty()).collect();
        write!(f, "{} [{}]", self.name, known.join(", "))
    }
}

impl AdapterSummary {
    /// Whether `selector` means this adapter, number `index` of `count`: a number below the count is an index, anything
    /// else part of a name, in any case.
    pub fn matches(&self, index: usize, count: usize, selector: &str) -> bool {
        match selector.parse::<usize>() {
            Ok(number) if number < count => number == index,
            _ => self.name.to_lowercase().contains(&selector.to_lowercase()),
        }
    }
}

const NO_ADAPTER: &str = "no adapter found. Install a driver: on Debian or Ubuntu `apt-get install mesa-vulkan-drivers \
    libvulkan1` (includes the software rasterizer lavapipe), on Windows and macOS update the system";

/// Every adapter of this machine, in the order that `--adapter INDEX` counts.
pub async fn adapters() -> Vec<AdapterSummary> {
    enumerate().await.iter().map(summarise).collect()
}

/// The adapter that `selector` names (an index or part of a name, any case), or the strongest kind without one.
pub(super) async fn choose(selector: Option<&str>) -> Result<(wgpu::Adapter, AdapterSummary)> {
    let mut found = enumerate().await;
    let summaries: Vec<_> = found.iter().map(summarise).collect();
    if found.is_empty() {
        return Err(Error::Gpu(NO_ADAPTER.into()));
    }
    let index = match selector {
        None => {
            let rank = |i: &usize| match found[*i].get_info().device_type {
                wgpu::DeviceType::DiscreteGpu => 0,
                wgpu::DeviceType::IntegratedGpu => 1,
                wgpu::DeviceType::VirtualGpu => 2,
                wgpu::DeviceType::Other => 3,
                wgpu::DeviceType::Cpu => 4,
            };
            (0..found.len()).min_by_key(rank)
        }
        Some(text) => (0..found.len()).find(|index| summaries[*index].matches(*index, found.len(), text)),
    };
    let Some(index) = index else {
        let list: Vec<_> = summaries.iter().enumerate().map(|(i, s)| format!("{i}: {}", s.name)).collect();
        let wanted = selector.unwrap_or_default();
        return Err(Error::Gpu(format!("no adapter matches `{wanted}`; there are {}", list.join(", "))));
    };
    let summary = summaries[index].clone();
    Ok((found.swap_remove(index), summary))
}

/// What the web-safe kernels need of an adapter; WebGPU's own minimum is at least this.
pub(super) fn check_limits(limits: &wgpu::Limits, name: &str) -> Result<()> {
    let needed = [
        ("max_storage_buffers_per_shader_stage", limits.max_storage_buffers_per_shader_stage, 7),
        ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup, 64),
        ("max_compute_workgroup_storage_size", limits.max_compute_workgroup_storage_size, 512),
        ("max_compute_workgroups_per_dimension", limits.max_compute_workgroups_per_dimension, 32768),
    ];
    match needed.iter().find(|(_, present, needed)| present < needed) {
        Some((limit, present, needed)) => Err(Error::Gpu(format!(
            "{name} offers {limit} = {present}; {needed} is needed. Choose another with --adapter (see `bootmae doctor`)"
        ))),
        None => Ok(()),
    }
}

async fn enumerate() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    // Line numbers in compiled shaders: naga counts lines anew for each statement, which takes seconds where loops are
    // unrolled.
    descriptor.flags.remove(wgpu::InstanceFlags::DEBUG);
    let instance = wgpu::Instance::new(descriptor);
    #[cfg(not(target_arch = "wasm32"))]
    {
        instance.enumerate_adapters(wgpu::Backends::PRIMARY).await
    }
    #[cfg(target_arch = "wasm32")]
    {
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        instance.request_adapter(&options).await.into_iter().collect()
    }
}

fn summarise(adapter: &wgpu::Adapter) -> AdapterSummary {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    let offered = adapter.features();
    let interesting = [
        ("timestamp_query", wgpu::Features::TIMESTAMP_QUERY),
        ("shader_f16", wgpu::Features::SHADER_F16),
        ("subgroup", wgpu::Features::SUBGROUP),
        ("cooperative_matrix", wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
    ];
    AdapterSummary {
        name: if info.name.is_empty() { "WebGPU adapter".into() } else { info.name },
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        backend: format!("{:?}", info.backend),
        kind: format!("{:?}", info.device_type),
        max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
        max_buffer_size: limits.max_buffer_size,
        max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
        max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
        // A software adapter has the system's memory, whatever its driver says.
        memory_bytes: memory_bytes(adapter).filter(|_| info.device_type != wgpu::DeviceType::Cpu),
        features: interesting.iter().filter(|(_, f)| offered.contains(*f)).map(|(n, _)| n.to_string()).collect(),
    }
}

/// WebGPU tells no memory size, Vulkan does.
#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn memory_bytes(adapter: &wgpu::Adapter) -> Option<u64> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT`.
    const LOCAL: u32 = 1;
    // SAFETY: the guard is dropped here, and what it guards is only asked for its properties.
    let heaps = unsafe {
        let adapter = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = adapter.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(adapter.raw_physical_device())
    };
    let heaps = &heaps.memory_heaps[..heaps.memory_heap_count as usize];
    heaps.iter().filter(|heap| heap.flags.as_raw() & LOCAL != 0).map(|heap| heap.size).max()
}

#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn memory_bytes(_: &wgpu::Adapter) -> Option<u64> {
    None
}

/// The side of the blocks that matrix units multiply, the larger one where there are two: half precision in, f32 out, a
/// subgroup at a time. Through Vulkan alone: Metal's were never tried. None where subgroups vary so much that four of the
/// smallest may be less than one, or are of fewer than 8: lavapipe then lists units that it does not have.
pub(super) fn matrix_side(adapter: &wgpu::Adapter) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let info = adapter.get_info();
    let usable = info.backend == wgpu::Backend::Vulkan
        && adapter.features().contains(MATRIX_UNITS)
        && info.subgroup_min_size >= 8
        && (4 * info.subgroup_min_size).is_multiple_of(info.subgroup_max_size);
    let properties = adapter.cooperative_matrix_properties();
    let has = |side: &u32| {
        let square = |p: &wgpu::CooperativeMatrixProperties| [p.m_size, p.n_size, p.k_size] == [*side; 3];
        properties.iter().any(|p| square(p) && (p.ab_type, p.cr_type) == (F16, F32))
    };
    [16, 8].into_iter().find(|side| usable && has(side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_named() {
        check_limits(&wgpu::Limits::default(), "an adapter").unwrap();
        type Lower = fn(&mut wgpu::Limits);
        let each: [(Lower, &str); 4] = [
            (|l| l.max_storage_buffers_per_shader_stage = 6, "max_storage_buffers_per_shader_stage = 6; 7 is needed"),
            (
                |l| l.max_compute_invocations_per_workgroup = 63,
                "max_compute_invocations_per_workgroup = 63; 64 is needed",
            ),
            (|l| l.max_compute_workgroup_storage_size = 511, "max_compute_workgroup_storage_size = 511; 512 is needed"),
            (
                |l| l.max_compute_workgroups_per_dimension = 32767,
                "max_compute_workgroups_per_dimension = 32767; 32768 is needed",
            ),
        ];
        for (lower, named) in each {
            let mut limits = wgpu::Limits::default();
            lower(&mut limits);
            let message = check_limits(&limits, "an adapter").unwrap_err().to_string();
            assert!(message.contains(named) && message.contains("--adapter"), "{message}");
        }
    }
}
