//! Compute pipelines.

use crate::kernels::Kernel;

/// A pipeline to compile.
pub(super) struct Request {
    /// Whose entry point it runs.
    pub(super) kernel: &'static Kernel,
    /// The text for the driver.
    pub(super) text: String,
    /// Whether with bounds checks.
    pub(super) checked: bool,
}

impl Request {
    /// Compiles it.
    pub(super) fn compile(&self, device: &wgpu::Device) -> wgpu::ComputePipeline {
        let label = self.kernel.label();
        let source = wgpu::ShaderSource::Wgsl(self.text.as_str().into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(&label), source };
        let module = if self.checked {
            device.create_shader_module(descriptor)
        } else {
            // SAFETY: every kernel keeps its indices inside its bindings; each is tested on every adapter with checks
            // on and off, at shapes that straddle its tiles' edges.
            unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
        };
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: None,
            module: &module,
            entry_point: Some(self.kernel.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        })
    }
}
