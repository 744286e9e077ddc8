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
    /// Where it sits on the PCI bus, `0000:65:00.0`; empty where the interface does not tell.
    pub pci: String,
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
    /// Whether `selector` means this adapter, number `index`: digits alone are an index, anything else is part of a name,
    /// in any case. Nothing means every adapter.
    pub fn matches(&self, index: usize, selector: &str) -> bool {
        let selector = selector.trim();
        if !selector.is_empty() && selector.bytes().all(|byte| byte.is_ascii_digit()) {
            return selector.parse() == Ok(index);
        }
        self.name.to_lowercase().contains(&selector.to_lowercase())
    }

    /// Whether it computes on the processor.
    pub fn is_software(&self) -> bool {
        self.kind == "Cpu"
    }

    /// How strong this kind of adapter is, 0 the strongest.
    fn rank(&self) -> usize {
        let kinds = ["DiscreteGpu", "IntegratedGpu", "VirtualGpu", "Other", "Cpu"];
        kinds.iter().position(|kind| self.kind == *kind).unwrap_or(kinds.len())
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
    let selector = selector.unwrap_or_default().trim();
    let (index, remark) = pick(&summaries, selector)?;
    if let Some(remark) = remark {
        tracing::warn!("{remark}");
    }
    let summary = summaries[index].clone();
    Ok((found.swap_remove(index), summary))
}

/// The index of the adapter for process number `local` of those on this machine: the GPUs by their place on the bus, one each;
/// with `shared` one after the other again. None where there are software adapters alone, which may be shared.
///
/// # Errors
/// [`Error::Config`] where there are more processes than GPUs, `of` of them.
#[cfg(not(target_arch = "wasm32"))]
pub fn of_process(adapters: &[AdapterSummary], (local, of): (usize, usize), shared: bool) -> Result<Option<usize>> {
    let Some(strongest) = adapters.iter().map(AdapterSummary::rank).min() else { return Ok(None) };
    let mut gpus: Vec<_> =
        adapters.iter().enumerate().filter(|(_, one)| one.rank() == strongest && !one.is_software()).collect();
    // One card may be listed by several interfaces.
    gpus.sort_by_key(|(index, one)| (&one.pci, *index));
    gpus.dedup_by(|(_, a), (_, b)| !a.pci.is_empty() && a.pci == b.pci);
    if gpus.is_empty() {
        return Ok(None);
    }
    if of > gpus.len() && !shared {
        return Err(Error::Config(format!(
            "{of} processes on this machine and {} of its GPUs found ({}). Start one process a GPU, or let them share with \
             --share-adapter",
            gpus.len(),
            gpus.iter().map(|(_, gpu)| &*gpu.name).collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(Some(gpus[local % gpus.len()].0))
}

/// The adapter that `selector` means, the strongest kind where there are several, and then a remark if a name was given.
fn pick(adapters: &[AdapterSummary], selector: &str) -> Result<(usize, Option<String>)> {
    let matching: Vec<_> = adapters.iter().enumerate().filter(|(i, adapter)| adapter.matches(*i, selector)).collect();
    let listed = |of: &[(usize, &AdapterSummary)]| {
        of.iter().map(|(i, adapter)| format!("{i}: {}", adapter.name)).collect::<Vec<_>>().join(", ")
    };
    let Some((index, _)) = matching.iter().min_by_key(|(_, adapter)| adapter.rank()) else {
        let all: Vec<_> = adapters.iter().enumerate().collect();
        let digits = selector.bytes().all(|byte| byte.is_ascii_digit());
        let hint = if digits { ". Digits alone are an index; of a name give more than its number" } else { "" };
        return Err(Error::Gpu(format!("no adapter matches `{selector}`; the adapters are {}{hint}", listed(&all))));
    };
    let several = !selector.is_empty() && matching.len() > 1;
    let remark = || format!("`{selector}` is in several adapters' names ({}); taking {index}", listed(&matching));
    Ok((*index, several.then(remark)))
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
        pci: info.device_pci_bus_id,
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

    fn adapter(name: &str, kind: &str) -> AdapterSummary {
        AdapterSummary {
            name: name.into(),
            driver: String::new(),
            backend: "Vulkan".into(),
            pci: String::new(),
            kind: kind.into(),
            max_storage_buffer_binding_size: 0,
            max_buffer_size: 0,
            max_storage_buffers_per_shader_stage: 0,
            max_compute_workgroup_storage_size: 0,
            max_compute_invocations_per_workgroup: 0,
            memory_bytes: None,
            features: Vec::new(),
        }
    }

    #[test]
    fn each_process_takes_a_gpu_of_its_own() {
        let card = |name: &str, pci: &str| AdapterSummary { pci: pci.into(), ..adapter(name, "DiscreteGpu") };
        let all = [
            adapter("llvmpipe", "Cpu"),
            card("second", "0000:65:00.0"),
            card("first", "0000:17:00.0"),
            adapter("on board", "IntegratedGpu"),
            card("first, by another interface", "0000:17:00.0"),
        ];
        let of = |local, shared| of_process(&all, local, shared);
        assert_eq!([0, 1].map(|rank| of((rank, 2), false).unwrap()), [Some(2), Some(1)]);
        let refused = of((0, 3), false).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("first, second") && refused.to_string().contains("--share-adapter"));
        assert_eq!([0, 1, 2].map(|rank| of((rank, 3), true).unwrap()), [Some(2), Some(1), Some(2)]);
        assert_eq!(of_process(&all[..1], (1, 2), false).unwrap(), None, "software adapters are shared");
    }

    #[test]
    fn digits_are_an_index_and_a_name_means_the_strongest_that_has_it() {
        let all = [
            adapter("llvmpipe (LLVM 15.0.6, 256 bits)", "Cpu"),
            adapter("Intel(R) Arc(tm) A100 Graphics", "IntegratedGpu"),
            adapter("NVIDIA A100-SXM4", "DiscreteGpu"),
            adapter("NVIDIA A100-SXM4", "DiscreteGpu"),
        ];
        let picked = |selector: &str| pick(&all, selector).map(|(index, _)| index);
        for (selector, index) in
            [("", 2), (" ", 2), ("0", 0), ("3", 3), ("03", 3), ("llvm", 0), ("LLVM 15", 0), ("a100", 2), ("arc", 1)]
        {
            assert_eq!(picked(selector).unwrap(), index, "{selector}");
        }
        for selector in ["4", "15", "100", "256", "99999999999999999999999", "radeon"] {
            let error = picked(selector).unwrap_err();
            let text = error.to_string();
            assert!(
                error.exit_code() == 4 && text.contains(selector) && text.contains("2: NVIDIA A100-SXM4"),
                "{text}"
            );
            assert_eq!(text.contains("Digits alone are an index"), selector != "radeon", "{text}");
        }
        let remark = pick(&all, "a100").unwrap().1.unwrap();
        assert!(
            remark.contains("1: Intel") && remark.contains("3: NVIDIA") && remark.ends_with("taking 2"),
            "{remark}"
        );
        assert_eq!((pick(&all, "").unwrap().1, pick(&all, "arc").unwrap().1), (None, None));
    }

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
