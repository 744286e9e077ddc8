//! What the library offers to JavaScript, in a page or in a worker of one. It works on bytes that are handed over and
//! answers with numbers, pictures as RGBA bytes, and JSON text. Nothing here touches the document or the network.
//!
//! | module | classes |
//! |---|---|
//! | here | the adapter, its checks and its speed |
//! | `look` | `Photo`, `Network`, `View`: what a network makes of a picture |
//! | `learn` | `Images`, `Checkpoint`, `Training`: a run in a tab |
//! | `features` | `Encoder`: features of pictures, which are alike, a classifier taught on them |
//! | `neighbours` | how well a network in training tells classes apart |
//!
//! Whatever is wrong with the bytes or the GPU is thrown, or rejects the promise, with a message.

mod features;
mod learn;
mod look;
mod neighbours;

use std::cell::RefCell;

use wasm_bindgen::prelude::*;

use crate::{
    check::{self_test, verify},
    device::{AdapterSummary, Device, DeviceOptions, adapters},
    error::Error,
    formats::tensors::{self, TensorFile},
    kernels::Tuning,
    lower::Precision,
    model::ModelConfig,
    ops::{Sample, samples},
    tasks::Pretrain,
    train::{
        TrainerOptions, bench,
        config::{RunConfig, resolve_settings},
        memory, profile, tune, work,
    },
};

/// Seconds that [`check`] measures kernel variants for, and that a run waits for it where nobody has checked.
const TUNING_S: (f64, f64) = (10.0, 4.0);

thread_local! {
    /// The kernel variants that were measured, while the page is open.
    static MEASURED: RefCell<Option<Tuning>> = const { RefCell::new(None) };
    /// The device that [`self_test`] goes on with.
    static TESTED: RefCell<Option<(Device, Tuning)>> = const { RefCell::new(None) };
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

/// What [`self_test()`] found.
#[derive(serde::Serialize)]
struct SelfTest {
    adapter: String,
    samples: usize,
    operations: Vec<self_test::Outcome>,
}

/// What [`check`] found.
#[derive(serde::Serialize)]
struct Check {
    adapter: String,
    limits: AdapterSummary,
    tuned: Vec<String>,
    matmul_gflops: f64,
    copy_gb_s: f64,
}

/// Runs once when the page loads the library. A panic is a programming error that leaves its promise pending, so what
/// it says has to reach the console: by itself wasm only reports that `unreachable` was executed.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| console_error(&info.to_string())));
}

/// The adapter that the other functions run on, in words.
#[wasm_bindgen]
pub async fn adapter_info() -> Result<String, JsError> {
    let found = adapters().await;
    let adapter = found.first().ok_or_else(|| JsError::new("this browser offers no WebGPU adapter"))?;
    Ok(adapter.to_string())
}

/// Compares a fixture's step or trajectory with what this GPU computes: a [`verify::Report`] as JSON.
#[wasm_bindgen]
pub async fn verify(bytes: Vec<u8>) -> Result<String, JsError> {
    let file = fixture(bytes)?;
    let (device, tuning) = open().await?;
    json(&verify::verify(device, tuning, Precision::F32, &file).await?)
}

/// Compares operations with their references, forward and gradient, and those whose kernels have variants with the ones for
/// GPUs as well: the samples from number `first` on, at most `most`. `{adapter, samples, operations}` as JSON, `samples` being
/// how many there are in all.
#[wasm_bindgen]
pub async fn self_test(first: usize, most: usize) -> Result<String, JsError> {
    let (device, tuning) = match TESTED.take().filter(|_| first > 0) {
        Some(kept) => kept,
        None => open().await?,
    };
    let gpus = Tuning::for_gpus();
    let mut all: Vec<(Sample, &Tuning, &str)> = samples().into_iter().map(|sample| (sample, &tuning, "")).collect();
    if gpus != tuning {
        // A browser without a GPU still shows that these compile in it.
        let varied = |name: &str| matches!(name, "matmul_nt" | "matmul_nn" | "matmul_tn" | "attention" | "layer_norm");
        let varied = samples().into_iter().filter(|sample| varied(sample.op.name()));
        all.extend(varied.map(|sample| (sample, &gpus, ", kernel for GPUs")));
    }
    all.retain(|(sample, tuning, _)| self_test::runs_with(sample, tuning));
    let (count, mut operations) = (all.len(), Vec::new());
    for (sample, tuning, kind) in all.into_iter().skip(first).take(most) {
        for mut outcome in self_test::self_test_of(&device, tuning, vec![sample]).await? {
            outcome.name += kind;
            operations.push(outcome);
        }
    }
    let adapter = device.adapter().name.clone();
    if first + most < count {
        TESTED.replace(Some((device, tuning)));
    }
    json(&SelfTest { adapter, samples: count, operations })
}

/// Bytes of the GPU's memory that training takes with settings as in a configuration file, as JSON.
#[wasm_bindgen]
pub fn memory_of(settings: &str) -> Result<f64, JsError> {
    let mut config = settings_of(settings)?;
    // However long it is.
    config.training.epochs = None;
    Ok(memory::estimate(&*config.planned_task(), config.training.passes()).total() as f64)
}

/// Settings as in a configuration file, as JSON.
fn settings_of(settings: &str) -> Result<RunConfig, Error> {
    let table: toml::Table =
        serde_json::from_str(settings).map_err(|error| Error::Config(format!("the settings: {error}")))?;
    resolve_settings(table, "the page's settings")
}

/// What the adapter allows, the kernel variants that are fastest on it for training a small network, and its speed:
/// `{adapter, limits, tuned, matmul_gflops, copy_gb_s}` as JSON.
#[wasm_bindgen]
pub async fn check() -> Result<String, JsError> {
    let (device, mut tuning) = open().await?;
    let needs = tune::classes(work(&device, &Pretrain::of(&ModelConfig::preset("nano")?), 8, Precision::F32));
    let (mut tuned, mut best) = (Vec::new(), 0.0f64);
    tune::tune(&device, &needs, &mut tuning, TUNING_S.0, &clock, |choice| {
        best = best.max(choice.gflops);
        tuned.push(choice.to_string());
    })
    .await?;
    MEASURED.replace(Some(tuning));
    let copy = profile::copy_rate(&device, &clock).await?;
    let limits = device.adapter().clone();
    json(&Check { adapter: limits.to_string(), limits, tuned, matmul_gflops: best, copy_gb_s: copy })
}

/// Times `steps` training steps of a preset on random images, and each kernel where asked to, beside the best
/// matmul: a [`bench::Bench`] as JSON.
#[wasm_bindgen]
pub async fn bench(preset: &str, batch: usize, steps: usize, profile: bool) -> Result<String, JsError> {
    let (device, tuning) = open().await?;
    let options = TrainerOptions::new(batch, 1, tuning);
    let workload = bench::Workload { model: ModelConfig::preset(preset)?, classifier: None };
    json(&bench::bench(device, &workload, options, steps, (profile, false), &clock).await?)
}

/// Seconds since the page began.
fn clock() -> f64 {
    js_sys::Date::now() / 1e3
}

/// The kernel variants for a run of `config`: those that were measured, or else, on a GPU, are measured now. A software
/// adapter compiles candidates for longer than they would save.
async fn tuned(device: &Device, config: &RunConfig) -> Result<Tuning, Error> {
    let built_in = Tuning::for_device(device);
    let (micro_batch, precision) = (config.training.micro_batch_size(), config.training.precision);
    let stored = |tuning: Tuning| if precision == Precision::F16 { tuning.storing_f16(&built_in) } else { tuning };
    if let Some(tuning) = MEASURED.with_borrow(Clone::clone).filter(|tuning| tuning.runs_on(device, precision)) {
        return Ok(stored(tuning));
    }
    if device.is_software() {
        return Ok(built_in);
    }
    let (mut tuning, needs) =
        (built_in.clone(), tune::classes(work(device, &Pretrain::of(&config.model), micro_batch, precision)));
    tune::tune(device, &needs, &mut tuning, TUNING_S.1, &clock, |_| {}).await?;
    MEASURED.replace(Some(tuning.clone()));
    Ok(stored(tuning))
}

async fn open() -> Result<(Device, Tuning), Error> {
    let device = Device::open(&DeviceOptions::default()).await?;
    let tuning = Tuning::for_device(&device);
    Ok((device, tuning))
}

fn fixture(bytes: Vec<u8>) -> Result<TensorFile, Error> {
    tensors::parse(&bytes).map_err(|reason| Error::checkpoint("fixture", reason))
}

fn json(value: &impl serde::Serialize) -> Result<String, JsError> {
    Ok(serde_json::to_string(value)?)
}
