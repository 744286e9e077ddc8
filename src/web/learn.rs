//! Training in a tab.

use std::sync::Arc;

use wasm_bindgen::prelude::*;

use super::{
    json,
    look::{Photo, View},
    neighbours::{self, Found, Neighbours},
    settings_of, tuned,
};
use crate::{
    checkpoint::Bundle,
    data::{self, Source, augment::resize_centre},
    device::{Device, DeviceOptions},
    error::Error,
    infer::network,
    kernels::Tuning,
    model::{Reconstructor, Teacher, masking},
    rng::{Rng, Stream},
    train::{
        config::RunConfig,
        images::compare,
        metrics::Metrics,
        snapshot::Snapshot,
        team::Team,
        training::{self, GivenUp, Start},
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

    /// How many classes the images have, 0 where they have none that could be told apart. See [`Training::neighbours`].
    pub fn classes(&self) -> usize {
        neighbours::classes(&self.0).unwrap_or_default()
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
    /// None where training had to go back, and where the run is over.
    metrics: Option<&'m Metrics>,
    events: Vec<String>,
    /// Why the run cannot go on. Its last good state can still be saved.
    ended: Option<&'m Ended>,
}

/// Why a run cannot go on.
#[derive(Clone, serde::Serialize)]
struct Ended {
    /// `diverged`, `gpu`, `images` or `other`.
    kind: &'static str,
    reason: String,
    /// How often training went back to one state before; none where that could not have helped.
    tried: Option<u32>,
}

/// What was measured and said while a state was saved.
#[derive(Default, serde::Serialize)]
struct News {
    metrics: Vec<Metrics>,
    events: Vec<String>,
}

/// The settings that a run may change when it goes on from a checkpoint.
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Changes {
    steps: Option<u64>,
    peak_learning_rate: Option<f64>,
}

impl Changes {
    /// Changes the settings of a run that has done `step` steps. The rate at the end keeps its share of the peak.
    fn apply(&self, config: &mut RunConfig, step: u64) -> Result<(), Error> {
        let training = &mut config.training;
        if let Some(steps) = self.steps.filter(|steps| *steps != training.steps) {
            if steps <= step {
                return Err(Error::Config(format!("steps must be more than the {step} that are done, not {steps}")));
            }
            training.steps = steps;
            training.warmup_steps = training.warmup_steps.map(|warmup| warmup.min(steps));
        }
        if let Some(peak) = self.peak_learning_rate.filter(|peak| *peak != training.peak_rate()) {
            let share = training.floor_rate() / training.peak_rate();
            training.min_learning_rate = training.min_learning_rate.map(|_| peak * share);
            training.peak_learning_rate = Some(peak);
        }
        config.check()
    }
}

/// A run in a tab.
#[wasm_bindgen]
pub struct Training {
    held: training::Training,
    /// Made with the first preview.
    networks: Option<(Reconstructor, Option<Teacher>)>,
    previews: Vec<Option<View>>,
    /// Made when it is first asked for; none where the images have no classes.
    neighbours: Option<Option<Neighbours>>,
    /// Of steps that were taken for a snapshot's sake.
    news: News,
    /// Set once the run cannot go on.
    ended: Option<Ended>,
    /// After which step the state is that was saved last.
    saved: u64,
}

#[wasm_bindgen]
impl Training {
    /// Starts a run with settings as in a configuration file, as JSON.
    pub async fn start(settings: &str, images: Images) -> Result<Training, JsError> {
        let mut config = settings_of(settings)?;
        config.data.source = "pictures in a tab".into();
        data::enough_for(&images.0, config.training.batch_size)?;
        config.training.settle_epochs(images.0.len())?;
        Training::open(config, images, Start::Seed).await
    }

    /// Goes on from a checkpoint; where the images are not what it began with, the first events say so. `changes` is JSON:
    /// its `steps` and `peak_learning_rate`, where given, replace the run's.
    pub async fn resume(checkpoint: Checkpoint, images: Images, changes: &str) -> Result<Training, JsError> {
        let mut snapshot = checkpoint.0.snapshot()?;
        drop(checkpoint);
        let changes: Changes =
            serde_json::from_str(changes).map_err(|error| Error::Config(format!("the settings: {error}")))?;
        changes.apply(&mut snapshot.config, snapshot.step)?;
        let remark = compare(&mut snapshot, &images.0, true)?;
        let config = snapshot.config.clone();
        data::enough_for(&images.0, config.training.batch_size)?;
        let start = Start::State(Box::new(snapshot), "the checkpoint".into());
        let mut training = Training::open(config, images, start).await?;
        training.news.events.extend(remark);
        Ok(training)
    }

    async fn open(config: RunConfig, images: Images, start: Start) -> Result<Training, JsError> {
        let device = Device::open(&DeviceOptions::default()).await?;
        let built_in = Tuning::for_device(&device);
        let kept = match &start {
            Start::State(snapshot, _) => snapshot.kept_tuning(&device.adapter().name, &built_in, |tuning| {
                tuning.runs_on(&device, config.training.precision)
            }),
            _ => None,
        };
        let tuning = match kept {
            Some(tuning) => tuning,
            None => tuned(&device, &config).await?,
        };
        let task = config.planned_task();
        let held =
            training::Training::new(config, task, Arc::new(images.0), device, tuning, start, Team::alone()).await?;
        let saved = held.step();
        Ok(Training {
            held,
            networks: None,
            previews: Vec::new(),
            neighbours: None,
            news: News::default(),
            ended: None,
            saved,
        })
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

    /// Steps submitted, the one in flight among them.
    #[wasm_bindgen(getter)]
    pub fn submitted(&self) -> f64 {
        self.held.submitted() as f64
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
    /// update refused, training goes back to its last good state, and the events say so. Where that does not help,
    /// `ended` says why, and [`Training::save`] gives the last good state from then on.
    pub async fn advance(&mut self) -> Result<String, JsError> {
        let mut events = std::mem::take(&mut self.news.events);
        let mut metrics = None;
        if self.ended.is_none() {
            match self.try_advance(&mut events).await {
                Ok(measured) => metrics = measured,
                Err(error) => events.extend(self.go_back(error).await),
            }
        }
        json(&Advanced { metrics: metrics.as_ref(), events, ended: self.ended.as_ref() })
    }

    /// Goes back to the last good state and says so, or ends the run.
    async fn go_back(&mut self, error: Error) -> Option<String> {
        let kind = match &error {
            Error::Diverged(_) => "diverged",
            Error::Gpu(_) => "gpu",
            Error::Images(_) => "images",
            _ => "other",
        };
        self.networks = None;
        self.neighbours.iter_mut().flatten().for_each(Neighbours::forget_device);
        let first = error.to_string();
        match self.held.recover(error).await {
            Ok(told) => Some(told),
            Err(GivenUp { error, tried }) => {
                let then = error.to_string();
                let reason = if then == first { first } else { format!("{first}; {then}") };
                self.ended = Some(Ended { kind, reason, tried });
                None
            }
        }
    }

    async fn try_advance(&mut self, events: &mut Vec<String>) -> Result<Option<Metrics>, Error> {
        let last = self.held.config().training.steps;
        while self.held.may_submit(last) {
            self.held.submit(last).await?;
        }
        if self.held.step() == last {
            return Ok(None);
        }
        let step = self.held.take().await?;
        events.extend(skipped(step.bad));
        Ok(Some(step.metrics))
    }

    /// Leaves the time until the next step out of the rate: after a pause.
    pub fn pause(&mut self) {
        self.held.restart_clock();
    }

    /// Reconstructs the first `count` images with the weights as they are, always with the same patches hidden; returns
    /// how many there are. See [`Training::preview_view`].
    pub async fn preview(&mut self, count: usize) -> Result<usize, JsError> {
        let trainer = self.held.trainer();
        let (config, device) = (&self.held.config().model, trainer.device());
        let networks = match self.networks.take() {
            Some(made) => made,
            None => network::of_trainer(trainer, config).await?,
        };
        let (student, teacher) = self.networks.insert(networks);
        let source = self.held.source();
        self.previews.clear();
        for index in 0..source.len() {
            if self.previews.len() == count {
                break;
            }
            let Ok(picture) = source.load(index, config.channels) else { continue };
            let image = resize_centre(&picture, config.image_height, config.image_width).normalise(&config.normalise);
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

    /// How many of the labelled images have the class of their 20 nearest neighbours among others, by the student's features
    /// after the steps submitted: `{step, classes, train, test, leave_one_out, k, top1, chance, seconds}` as JSON; null where
    /// the images have no classes. The first time decides how many images are looked at: what takes `budget` seconds.
    pub async fn neighbours(&mut self, budget: f64) -> Result<String, JsError> {
        /// What was found, and after which step.
        #[derive(serde::Serialize)]
        struct After {
            step: u64,
            #[serde(flatten)]
            found: Found,
        }
        let (trainer, model) = (self.held.trainer(), &self.held.config().model);
        let neighbours = match self.neighbours.take() {
            Some(made) => made,
            None => Neighbours::new(&**self.held.source(), trainer, model, budget).await?,
        };
        let Some(neighbours) = self.neighbours.insert(neighbours) else { return json(&None::<After>) };
        let found = neighbours.evaluate(trainer, model).await?;
        self.held.restart_clock();
        json(&After { step: self.held.submitted(), found })
    }

    /// The checkpoint after the steps done so far, as a tar archive of its folder. A step that was submitted ahead is
    /// waited for and done. Where that fails, and where the run is over, it is the last good state.
    pub async fn save(&mut self) -> Result<Vec<u8>, JsError> {
        let snapshot = self.settled().await;
        self.saved = snapshot.step;
        Bundle::of(&snapshot)?.pack().map_err(|error| JsError::new(&error.to_string()))
    }

    /// After which step the state is that was saved last.
    #[wasm_bindgen(getter)]
    pub fn saved_step(&self) -> f64 {
        self.saved as f64
    }

    /// A name for the archive that was saved last.
    pub fn save_name(&self) -> String {
        format!("bootmae-step-{}.tar", self.saved)
    }

    /// What was measured and said while states were saved, `{metrics, events}` as JSON, once.
    pub fn news(&mut self) -> Result<String, JsError> {
        json(&std::mem::take(&mut self.news))
    }

    /// The state after all steps submitted so far, or else the last good one.
    async fn settled(&mut self) -> Arc<Snapshot> {
        if self.ended.is_none()
            && let Err(error) = self.settle().await
        {
            let told = self.go_back(error).await;
            self.news.events.extend(told);
        }
        self.held.good().clone()
    }

    async fn settle(&mut self) -> Result<(), Error> {
        while self.held.step() < self.held.submitted() {
            let step = self.held.take().await?;
            self.news.events.extend(skipped(step.bad));
            self.news.metrics.push(step.metrics);
        }
        // A state that is kept already says nothing new of how training goes.
        if self.held.step() != self.held.good().step {
            self.held.snapshot().await?;
        }
        Ok(())
    }
}

/// Images that could not be read, as events.
fn skipped(bad: Vec<String>) -> impl Iterator<Item = String> {
    bad.into_iter().map(|name| format!("skipped: {name}"))
}
