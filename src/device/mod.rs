//! The GPU as this project needs it: adapter choice, limits, buffers, pipelines, readback. Knows no tensors.

mod adapter;
#[cfg(target_arch = "wasm32")]
mod browser;
mod pipeline;
mod readback;
#[cfg(not(target_arch = "wasm32"))]
mod scout;
mod timing;
#[cfg(not(target_arch = "wasm32"))]
mod upload;
mod variants;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Mutex},
};

#[cfg(not(target_arch = "wasm32"))]
pub use adapter::of_process;
pub use adapter::{AdapterSummary, adapters};
pub use readback::Readback;
pub use timing::Timer;
pub use variants::{candidates, matrix_rows, matrix_tiles, norm_candidates, row_candidates};

use pipeline::Request;

use crate::{
    error::{Error, Result},
    kernels::{Constant, Kernel},
};

/// Bytes of eight values, in whose multiples buffers are made and bound: kernels read and write up to so many at a time.
pub(crate) const EIGHT_VALUES: u64 = 32;

/// How a device is opened.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// Its index in [`adapters`], in digits alone, or part of its name; the strongest kind of what matches is taken.
    pub adapter: Option<String>,
    /// Compile shaders with bounds clamps and loop bounds, as browsers always do. Off natively: the kernels are tested
    /// with checks, and checks cost up to twice the time.
    pub checked: bool,
    /// Ask for WebGPU's default limits instead of everything the adapter offers.
    pub web_limits: bool,
    /// The most seconds that a submit of several dispatches may take on the slowest GPU worth training on. Without it 0.2 on
    /// this one, once it has shown how fast it is, and no bound on software adapters: nothing resets those, and one submit
    /// waits there for the one before.
    pub submit_s: Option<f64>,
    /// Compile other shaders than the program's, to see that a driver which computes wrongly is found out.
    pub rewrite: Option<Rewrite>,
}

/// Gives the source to compile in place of a kernel's own.
#[derive(Clone)]
pub struct Rewrite(pub Arc<dyn Fn(&Kernel) -> String>);

impl std::fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rewrite")
    }
}

type PipelineKey = (&'static str, &'static str, Vec<Constant>);

/// The first thing that went wrong with a device; what follows is mostly its consequence.
#[derive(Clone, Default)]
pub(crate) struct Fault(Arc<Mutex<(Option<String>, bool)>>);

impl Fault {
    pub(crate) fn note(&self, message: &str) {
        self.0.lock().expect("no panic while held").0.get_or_insert_with(|| message.to_string());
    }

    /// Notes that the device is gone.
    pub(crate) fn note_lost(&self, message: &str) {
        self.note(message);
        self.0.lock().expect("no panic while held").1 = true;
    }

    fn first(&self) -> Option<String> {
        self.0.lock().expect("no panic while held").0.clone()
    }

    fn lost(&self) -> bool {
        self.0.lock().expect("no panic while held").1
    }
}

/// An open device with its queue and the pipelines compiled so far.
pub struct Device {
    pub(crate) raw: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    summary: AdapterSummary,
    info: wgpu::AdapterInfo,
    options: DeviceOptions,
    matrix_side: Option<u32>,
    pipelines: RefCell<HashMap<PipelineKey, Rc<wgpu::ComputePipeline>>>,
    #[cfg(not(target_arch = "wasm32"))]
    uploads: upload::Uploads,
    /// What it was opened from, and how.
    #[cfg(not(target_arch = "wasm32"))]
    origin: (wgpu::Adapter, wgpu::DeviceDescriptor<'static>),
    /// How many times faster than the slowest GPU this one is at least.
    speed: Cell<f64>,
    fault: Fault,
}

impl Device {
    /// Opens an adapter. [`Error::Gpu`] says which adapters there are and how to install a driver when there is none.
    pub async fn open(options: &DeviceOptions) -> Result<Device> {
        let (adapter, summary) = adapter::choose(options.adapter.as_deref()).await?;
        let wanted = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP | wgpu::Features::SHADER_INT64;
        let limits = if options.web_limits { wgpu::Limits::default() } else { adapter.limits() };
        adapter::check_limits(&limits, &summary.name)?;
        let mut descriptor = wgpu::DeviceDescriptor {
            label: Some("bootmae"),
            required_features: adapter.features() & wanted,
            required_limits: limits,
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        // No browser has them, and they ask for more shared memory than WebGPU promises.
        let mut matrix_side = adapter::matrix_side(&adapter).filter(|_| !options.web_limits);
        let mut opened = None;
        if matrix_side.is_some() {
            let mut with_units = descriptor.clone();
            with_units.required_features |= adapter::MATRIX_UNITS;
            // SAFETY: what is experimental is how shaders use matrix units. Those that do are tested like all others.
            with_units.experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
            opened = adapter.request_device(&with_units).await.ok();
            if opened.is_some() {
                descriptor = with_units;
            }
            // Some drivers list what their units multiply, and have them not.
            matrix_side = matrix_side.filter(|_| opened.is_some());
        }
        let (raw, queue) = match opened {
            Some(opened) => opened,
            None => adapter
                .request_device(&descriptor)
                .await
                .map_err(|e| Error::Gpu(format!("{} refused to open: {e}", summary.name)))?,
        };
        let fault = Fault::default();
        let lost = fault.clone();
        raw.set_device_lost_callback(move |reason, message| {
            lost.note_lost(&format!("device lost ({reason:?}): {message}"))
        });
        let reported = fault.clone();
        raw.on_uncaptured_error(Arc::new(move |error: wgpu::Error| reported.note(&error.to_string())));
        let info = adapter.get_info();
        let options = options.clone();
        Ok(Device {
            raw,
            queue,
            summary,
            info,
            options,
            matrix_side,
            pipelines: RefCell::default(),
            #[cfg(not(target_arch = "wasm32"))]
            uploads: upload::Uploads::default(),
            #[cfg(not(target_arch = "wasm32"))]
            origin: (adapter, descriptor),
            speed: Cell::new(1.0),
            fault,
        })
    }

    /// The adapter this device runs on.
    pub fn adapter(&self) -> &AdapterSummary {
        &self.summary
    }

    /// The largest storage binding in bytes.
    pub fn max_binding_bytes(&self) -> u64 {
        let limits = self.raw.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
    }

    /// The most workgroups that one axis of a dispatch may have.
    pub fn max_groups(&self) -> u32 {
        self.raw.limits().max_compute_workgroups_per_dimension
    }

    /// Bytes of shared memory that a workgroup may have.
    pub fn shared_bytes(&self) -> u32 {
        self.raw.limits().max_compute_workgroup_storage_size
    }

    /// Whether shaders are compiled with bounds checks.
    pub fn is_checked(&self) -> bool {
        self.options.checked
    }

    /// The most seconds that a submit of several dispatches may take, see [`DeviceOptions::submit_s`].
    pub(crate) fn submit_s(&self) -> f64 {
        /// A screen that stands still longer is noticed; systems reset a GPU after one or two seconds.
        const NOTICED_S: f64 = 0.2;
        let bound = if self.is_software() { f64::INFINITY } else { NOTICED_S * self.speed.get() };
        self.options.submit_s.unwrap_or(bound)
    }

    /// Hears that what takes the slowest GPU `slowest` seconds was done within `taken` seconds.
    pub(crate) fn learn_speed(&self, slowest: f64, taken: f64) {
        /// Other programs may take half of a GPU at any moment.
        const SAFE: f64 = 0.5;
        self.speed.set((SAFE * slowest / taken).max(1.0));
    }

    /// Whether the adapter is a software rasterizer.
    pub fn is_software(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }

    /// The number of invocations in a subgroup, where subgroup operations are at hand and it never varies.
    pub fn fixed_subgroup(&self) -> Option<u32> {
        let fixed = self.info.subgroup_min_size == self.info.subgroup_max_size;
        (fixed && self.raw.features().contains(wgpu::Features::SUBGROUP)).then_some(self.info.subgroup_min_size)
    }

    /// The side of the square blocks that the adapter's matrix units multiply, in half precision with sums in f32, and the
    /// fewest invocations of a subgroup; none without such units.
    pub fn matrix_units(&self) -> Option<(u32, u32)> {
        self.matrix_side.map(|side| (side, self.info.subgroup_min_size))
    }

    /// Whether shaders may use 64-bit integers.
    pub fn has_int64(&self) -> bool {
        self.raw.features().contains(wgpu::Features::SHADER_INT64)
    }

    /// Whether dispatches can be timed on the GPU.
    pub fn has_timestamps(&self) -> bool {
        self.raw.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Seconds of one tick of the GPU's timestamps.
    pub(crate) fn tick_seconds(&self) -> f64 {
        f64::from(self.queue.get_timestamp_period()) * 1e-9
    }

    /// Opens the adapter again after the device was lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn reopen(&self) -> Result<Device> {
        Device::open(&self.options).await
    }

    /// Opens the adapter again after the device was lost. Its process may have died: a browser starts another, which
    /// takes it a moment.
    #[cfg(target_arch = "wasm32")]
    pub async fn reopen(&self) -> Result<Device> {
        const TRIES: usize = 20;
        for _ in 1..TRIES {
            browser::sleep(0.5).await;
            if let Ok(device) = Device::open(&self.options).await {
                return Ok(device);
            }
        }
        Device::open(&self.options).await
    }

    /// Whether the device is gone: a crash or reset of its driver, or memory pressure in a browser.
    pub fn is_lost(&self) -> bool {
        self.fault.lost()
    }

    /// What loses the device when it is called, as a crash of its driver would, to see what becomes of a run.
    pub fn destroyer(&self) -> impl Fn() + use<> {
        let raw = self.raw.clone();
        move || raw.destroy()
    }

    /// Fails, with the driver's words, when the device was lost or reported an error since it was opened.
    pub fn check(&self) -> Result<()> {
        match self.fault.first() {
            Some(message) => Err(Error::Gpu(format!("{} failed: {message}", self.summary.name))),
            None => Ok(()),
        }
    }

    /// A zeroed storage buffer of at least `bytes` bytes, whole eights of values, that can be copied to and from. Fails when it
    /// does not fit.
    pub fn buffer(&self, label: &str, bytes: u64) -> Result<wgpu::Buffer> {
        let limits = self.raw.limits();
        if bytes > limits.max_buffer_size {
            return Err(Error::Gpu(format!(
                "{label} needs a buffer of {bytes} bytes; {} allows max_buffer_size = {}. Use a smaller batch or model",
                self.summary.name, limits.max_buffer_size
            )));
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        Ok(self.raw.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.max(4).next_multiple_of(EIGHT_VALUES),
            usage,
            mapped_at_creation: false,
        }))
    }

    /// Writes bytes into buffers at offsets, before whatever else `encoder` holds or will hold.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn upload(&self, encoder: &mut wgpu::CommandEncoder, writes: &[(&wgpu::Buffer, u64, &[u8])]) {
        if !self.uploads.write(&self.raw, encoder, writes) {
            self.fault.note("a buffer to write from could not be mapped");
        }
    }

    /// Writes bytes into buffers at offsets, before what is submitted next: a browser has buffers of its own for this.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn upload(&self, _: &mut wgpu::CommandEncoder, writes: &[(&wgpu::Buffer, u64, &[u8])]) {
        writes.iter().for_each(|(to, offset, bytes)| self.queue.write_buffer(to, *offset, bytes));
    }

    /// The pipeline of `kernel` with these constants, compiled at its first use unless [`Device::compile`] was there
    /// before.
    pub(crate) fn pipeline(&self, kernel: &'static Kernel, constants: &[Constant]) -> Rc<wgpu::ComputePipeline> {
        let key = (kernel.name, kernel.entry, constants.to_vec());
        if let Some(found) = self.pipelines.borrow().get(&key) {
            return found.clone();
        }
        let pipeline = Rc::new(self.request(kernel, constants).compile(&self.raw));
        self.pipelines.borrow_mut().insert(key, pipeline.clone());
        pipeline
    }

    /// Compiles those of these pipelines that are not there yet, on all processors: a driver takes up to seconds for one.
    /// Returns the first error.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) async fn compile<'a>(
        &self,
        wanted: impl Iterator<Item = (&'static Kernel, &'a [Constant])>,
    ) -> Option<wgpu::Error> {
        let (mut keys, mut requests): (Vec<PipelineKey>, Vec<Request>) = Default::default();
        for (kernel, constants) in wanted {
            let key = (kernel.name, kernel.entry, constants.to_vec());
            if !self.pipelines.borrow().contains_key(&key) && !keys.contains(&key) {
                keys.push(key);
                requests.push(self.request(kernel, constants));
            }
        }
        let (next, raw) = (std::sync::atomic::AtomicUsize::new(0), &self.raw);
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(request) = requests.get(index) else { return done };
                let scope = raw.push_error_scope(wgpu::ErrorFilter::Validation);
                done.push((index, request.compile(raw), scope.pop()));
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(requests.len());
        let mut compiled: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("wgpu does not panic")).collect()
        });
        compiled.sort_by_key(|(index, ..)| *index);
        let (mut first, mut pipelines) = (None, Vec::new());
        for (_, pipeline, error) in compiled {
            first = first.or(error.await);
            pipelines.push(pipeline);
        }
        if first.is_none() && self.info.driver == "llvmpipe" {
            scout::compile((&self.raw, &self.queue), &self.origin, &requests, &pipelines).await;
        }
        self.pipelines.borrow_mut().extend(keys.into_iter().zip(pipelines.into_iter().map(Rc::new)));
        first
    }

    /// A browser has no threads for it: there each is compiled at its first use.
    #[cfg(target_arch = "wasm32")]
    pub(crate) async fn compile<'a>(
        &self,
        _: impl Iterator<Item = (&'static Kernel, &'a [Constant])>,
    ) -> Option<wgpu::Error> {
        None
    }

    fn request(&self, kernel: &'static Kernel, constants: &[Constant]) -> Request {
        let source = match &self.options.rewrite {
            Some(Rewrite(rewrite)) => rewrite(kernel),
            None => kernel.source.to_string(),
        };
        Request { kernel, text: kernel.text(&source, constants), checked: self.options.checked }
    }

    /// How many pipelines have been compiled.
    pub fn pipeline_count(&self) -> usize {
        self.pipelines.borrow().len()
    }

    /// Waits until everything submitted is done. In a browser the wait is the readback's.
    pub fn wait(&self) -> Result<()> {
        self.wait_for(None)
    }

    /// Waits until a submission is done, or everything without one.
    pub(crate) fn wait_for(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let poll = wgpu::PollType::Wait { submission_index: submission, timeout: None };
        self.raw.poll(poll).map_err(|e| Error::Gpu(format!("waiting failed: {e}")))?;
        self.check()
    }
}

/// A browser frees a device's buffers only once it collects the device's JavaScript objects, which may be much later.
#[cfg(target_arch = "wasm32")]
impl Drop for Device {
    fn drop(&mut self) {
        self.raw.destroy();
    }
}
