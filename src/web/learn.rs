//! Training in a tab.

use std::{collections::VecDeque, sync::Arc};

use wasm_bindgen::prelude::*;

use super::{
    json,
    look::{Photo, View},
    tuned,
};
use crate::{
    data::{self, Source, augment::resize_centre},
    device::{Device, DeviceOptions},
    error::Error,
    kernels::Tuning,
    model::{Reconstructor, Teacher, masking},
    rng::{Rng, Stream},
    train::{
        checkpoint::{self, Bundle, Model},
        config::{RunConfig, resolve_settings},
        metrics::Metrics,
        snapshot::Snapshot,
        tensors::Precision,
        training::{self, GivenUp, Start, kept_tuning},
    },
};

/// Images to train on.
#[wasm_bindgen]
#[derive(Default)]
pub struct Images(data::Images);

#[wasm_bindgen]
impl Images {
    /// None yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Images {
        Images::default()
    }

    /// Adds a file and returns how many images it holds: one, or those of a CIFAR-10 file in the binary layout.
    pub fn add(&mut self, name: &str, bytes: Vec<u8>) -> Result<usize, JsError> {
        self.0.add(name, bytes).map_err(|reason| JsError::new(&reason))
    }

    /// How many there are.
    #[wasm_bindgen(getter)]
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// The name of an image, in the order of training.
    pub fn name(&self, index: usize) -> Result<String, JsError> {
        self.check(index)?;
        Ok(self.0.name(index))
    }

    /// An image.
    pub fn photo(&self, index: usize) -> Result<Photo, JsError> {
        self.check(index)?;
        self.0.load(index, 3).map(Photo).map_err(|reason| JsError::new(&reason))
    }

    fn check(&self, index: usize) -> Result<(), JsError> {
        let count = self.0.len();
        if index < count { Ok(()) } else { Err(JsError::new(&format!("there is no image {index} of {count}"))) }
    }
}

/// The files of a checkpoint.
#[wasm_bindgen]
#[derive(Default)]
pub struct Checkpoint(Bundle);

/// What a page needs to know of a checkpoint.
#[derive(serde::Serialize)]
struct Description<'s> {
    step: u64,
    steps: u64,
    config: &'s RunConfig,
    adapter: &'s str,
}

#[wasm_bindgen]
impl Checkpoint {
    /// No files yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Checkpoint {
        Checkpoint::default()
    }

    /// Adds a file of a checkpoint's folder, or its archive.
    pub fn add(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), JsError> {
        Ok(self.0.add(name, bytes)?)
    }

    /// The step, the settings and the adapter of the run, as JSON. Fails unless all files are there and whole.
    pub fn describe(&self) -> Result<String, JsError> {
        let Snapshot { step, config, adapter, .. } = &self.0.snapshot()?;
        json(&Description { step: *step, steps: config.training.steps, config, adapter })
    }
}

/// What a step brought.
#[derive(serde::Serialize)]
struct Advanced<'m> {
    /// None where training had to go back.
    metrics: Option<&'m Metrics>,
    events: Vec<String>,
}

/// A run in a tab.
#[wasm_bindgen]
pub struct Training {
    held: training::Training,
    /// Made with the first preview.
    networks: Option<(Reconstructor, Option<Teacher>)>,
    previews: Vec<Option<View>>,
    /// Of steps that were taken for a snapshot's sake.
    unreported: VecDeque<Metrics>,
}

#[wasm_bindgen]
impl Training {
    /// Starts a run with settings as in a configuration file, as JSON.
    pub async fn start(settings: &str, images: Images) -> Result<Training, JsError> {
        let table: toml::Table =
            serde_json::from_str(settings).map_err(|error| Error::Config(format!("the settings: {error}")))?;
        let mut config = resolve_settings(table, "the page's settings")?;
        config.data.source = "pictures in a tab".into();
        data::enough_for(&images.0, config.training.batch_size)?;
        config.training.settle_epochs(images.0.len())?;
        Training::open(config, images, Start::Seed).await
    }

    /// Goes on from a checkpoint.
    pub async fn resume(checkpoint: Checkpoint, images: Images) -> Result<Training, JsError> {
        let snapshot = checkpoint.0.snapshot()?;
        drop(checkpoint);
        let config = snapshot.config.clone();
        data::enough_for(&images.0, config.training.batch_size)?;
        Training::open(config, images, Start::State(Box::new(snapshot), "the checkpoint".into())).await
    }

    async fn open(config: RunConfig, images: Images, start: Start) -> Result<Training, JsError> {
        let device = Device::open(&DeviceOptions::default()).await?;
        let built_in = Tuning::for_device(&device);
        let kept = match &start {
            Start::State(snapshot, _) => kept_tuning(snapshot, &device.adapter().name, &built_in, |tuning| {
                tuning.runs_on(&device, config.training.precision)
            }),
            _ => None,
        };
        let tuning = match kept {
            Some(tuning) => tuning,
            None => tuned(&device, &config).await?,
        };
        let held = training::Training::new(config, Arc::new(images.0), device, tuning, start).await?;
        Ok(Training { held, networks: None, previews: Vec::new(), unreported: VecDeque::new() })
    }

    /// The run's settings, as JSON.
    pub fn config(&self) -> Result<String, JsError> {
        json(self.held.config())
    }

    /// Steps done.
    #[wasm_bindgen(getter)]
    pub fn step(&self) -> f64 {
        self.held.step() as f64
    }

    /// Steps in all.
    #[wasm_bindgen(getter)]
    pub fn steps(&self) -> f64 {
        self.held.config().training.steps as f64
    }

    /// Values of all parameters.
    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> usize {
        self.held.trainer().layout().count()
    }

    /// GPU memory held, in bytes.
    #[wasm_bindgen(getter)]
    pub fn gpu_bytes(&self) -> f64 {
        self.held.trainer().gpu_bytes() as f64
    }

    /// Trains one step, the next one submitted already; after the last step it does nothing. Where the GPU is lost or an
    /// update refused, training goes back to its last good state, and the events say so.
    pub async fn advance(&mut self) -> Result<String, JsError> {
        let mut events = Vec::new();
        let metrics = match self.try_advance(&mut events).await {
            Ok(metrics) => metrics,
            Err(error) => {
                let told = self.held.recover(error).await;
                self.unreported.clear();
                self.networks = None;
                events.push(told.map_err(|GivenUp { error, .. }| error)?);
                None
            }
        };
        json(&Advanced { metrics: metrics.as_ref(), events })
    }

    async fn try_advance(&mut self, events: &mut Vec<String>) -> Result<Option<Metrics>, Error> {
        if let Some(metrics) = self.unreported.pop_front() {
            return Ok(Some(metrics));
        }
        let last = self.held.config().training.steps;
        while self.held.may_submit(last) {
            let unreadable = self.held.submit(last)?;
            events.extend(unreadable.into_iter().map(|name| format!("skipped: {name}")));
        }
        if self.held.step() == last {
            return Ok(None);
        }
        Ok(Some(self.held.take().await?.metrics))
    }

    /// Leaves the time until the next step out of the rate: after a pause.
    pub fn pause(&mut self) {
        self.held.restart_clock();
    }

    /// Reconstructs the first `count` images with the weights as they are, always with the same patches hidden; returns
    /// how many there are. See [`Training::preview_view`].
    pub async fn preview(&mut self, count: usize) -> Result<usize, JsError> {
        let trainer = self.held.trainer();
        let (config, device) = (trainer.config(), trainer.device());
        let networks = match self.networks.take() {
            Some(made) => made,
            None => (trainer.reconstructor().await?, trainer.teacher().await?),
        };
        let (student, teacher) = self.networks.insert(networks);
        let source = self.held.source();
        self.previews.clear();
        for index in 0..source.len() {
            if self.previews.len() == count {
                break;
            }
            let Ok(picture) = source.load(index, config.channels) else { continue };
            let image = resize_centre(&picture, config.image_height, config.image_width).normalise();
            let order = masking::patch_order(config, &mut Rng::new(0, Stream::Mask, 0, index as u64), 0);
            let made = student.run(device, &image, &order).await?;
            let features = match teacher {
                Some(teacher) => made.features(teacher.begin(device, &image).finish(device).await?),
                None => None,
            };
            self.previews.push(Some(View::new(made, features)));
        }
        Ok(self.previews.len())
    }

    /// Hands a preview over, once.
    pub fn preview_view(&mut self, index: usize) -> Result<View, JsError> {
        let view = self.previews.get_mut(index).and_then(Option::take);
        view.ok_or_else(|| JsError::new(&format!("there is no preview {index}")))
    }

    /// The checkpoint after the steps done so far, as a tar archive of its folder. A step that was submitted ahead is
    /// waited for and done.
    pub async fn save(&mut self) -> Result<Vec<u8>, JsError> {
        Bundle::of(&*self.settled().await?)?.pack().map_err(|error| JsError::new(&error.to_string()))
    }

    /// A name for the archive.
    pub fn save_name(&self) -> String {
        format!("bootmae-step-{}.tar", self.held.step())
    }

    /// The weights of student and teacher as they are, as a model file.
    pub async fn weights(&mut self) -> Result<Vec<u8>, JsError> {
        let model = Model::of(Snapshot::clone(&*self.settled().await?));
        let mut bytes = Vec::new();
        checkpoint::weights(&model, Precision::F32, &mut bytes).map_err(|error| JsError::new(&error.to_string()))?;
        Ok(bytes)
    }

    /// The state after all steps submitted so far.
    async fn settled(&mut self) -> Result<Arc<Snapshot>, Error> {
        while self.held.step() < self.held.submitted() {
            self.unreported.push_back(self.held.take().await?.metrics);
        }
        self.held.snapshot().await
    }
}
