//! Features of a visitor's pictures: which are alike, and a classifier taught on them.

use std::{cell::RefCell, rc::Rc};

use wasm_bindgen::prelude::*;
use web_time::Instant;

use super::{
    json,
    look::{Photo, WeightsFile},
};
use crate::{
    checkpoint::weights,
    data::Picture,
    device::{Device, DeviceOptions},
    error::{Error, Result},
    formats::tensors::Precision as Stored,
    infer::{
        accuracy::Outcome,
        encoder::{Embedder, Encoder as Held, FeatureOptions, Norm, Pool},
        neighbours,
        sets::{Set, Sets},
        taught::{Taught, Unseen},
    },
    lower::Precision,
    model::{ModelConfig, Whose, components},
};

/// What `bootmae embed` makes without being asked for anything else.
const FEATURES: FeatureOptions = FeatureOptions {
    whose: Whose::Student,
    pool: Pool::Mean,
    norm: Norm::None,
    blocks: None,
    precision: Precision::F32,
};

/// Pictures that pass through the network together, at most, and patches of them.
const BATCH: usize = 64;
const PATCHES: usize = 8192;

/// What a page needs to know of an encoder.
#[derive(serde::Serialize)]
struct Description {
    image_height: usize,
    image_width: usize,
    /// Values of a feature.
    width: usize,
    /// Pictures that are looked at together.
    batch: usize,
    parameters: usize,
    step: u64,
    /// The classes that it tells apart already.
    classes: Vec<String>,
}

/// What came of teaching.
#[derive(serde::Serialize)]
struct Lesson {
    unseen: Unseen,
    seconds: f64,
}

/// The encoder of a file of weights, decoders or not. A lost GPU is opened again when it is next asked for something.
#[wasm_bindgen]
pub struct Encoder {
    file: WeightsFile,
    step: u64,
    config: ModelConfig,
    parameters: usize,
    held: RefCell<Rc<Held>>,
    /// For one picture at a time, as a camera gives them.
    single: RefCell<Option<Rc<Embedder>>>,
    /// Views that wait for their batch.
    views: RefCell<Vec<Picture>>,
    taught: RefCell<Option<Taught>>,
}

fn batch(config: &ModelConfig) -> usize {
    BATCH.min(PATCHES / config.patches()).max(1)
}

#[wasm_bindgen]
impl Encoder {
    /// Reads the encoder of a file.
    pub async fn open(file: WeightsFile) -> Result<Encoder, JsError> {
        let model = file.read()?.model;
        let device = Device::open(&DeviceOptions::default()).await?;
        let (config, step) = (model.config.model.clone(), model.step);
        let held = Held::new(device, &model, FEATURES, batch(&config)).await?;
        let (parameters, held) = (held.parameters(), RefCell::new(Rc::new(held)));
        let (single, views, taught) = (RefCell::default(), RefCell::default(), RefCell::new(Taught::of(&model)));
        Ok(Encoder { file, step, config, parameters, held, single, views, taught })
    }

    /// Shapes, steps trained, number of parameters and the classes it tells apart already, as JSON.
    pub fn describe(&self) -> Result<String, JsError> {
        let classes = self.taught.borrow().as_ref().map(|taught| taught.classes().to_vec()).unwrap_or_default();
        let ModelConfig { image_height, image_width, width, .. } = self.config;
        let (batch, parameters, step) = (batch(&self.config), self.parameters, self.step);
        json(&Description { image_height, image_width, width, batch, parameters, step, classes })
    }

    /// Cuts a photo to what the network sees of it, which waits for [`Encoder::run`], and shows it: RGBA.
    pub fn look(&self, photo: &Photo) -> Vec<u8> {
        let view = self.config.evaluation_view(&photo.0.clone().with_channels(self.config.channels));
        self.views.borrow_mut().push(view.clone());
        view.with_channels(3).with_channels(4).pixels
    }

    /// The features of the photos that wait, one after the other in the order of their arrival: `[photos, width]`.
    pub async fn run(&self) -> Result<Vec<f32>, JsError> {
        let views = self.views.take();
        let mut features = Vec::new();
        for views in views.chunks(batch(&self.config)) {
            let images: Vec<f32> = views.iter().flat_map(|view| view.normalise(&self.config.normalise)).collect();
            features.extend(self.features(&images, views.len() == 1).await?);
        }
        Ok(features)
    }

    /// Learns to tell classes with these names apart from features `[photos, width]` and the class of each: how well, as
    /// JSON.
    pub fn teach(&self, features: Vec<f32>, classes: Vec<u32>, names: Vec<String>) -> Result<String, JsError> {
        let width = self.config.width;
        if features.len() != classes.len() * width || classes.iter().any(|class| *class as usize >= names.len()) {
            return Err(JsError::new("features and classes do not belong together"));
        }
        let began = Instant::now();
        let set = Set { values: features, classes };
        let (taught, unseen) = Taught::new(names, &set, width, self.config.layer_norm_eps)?;
        let said = json(&Lesson { unseen, seconds: began.elapsed().as_secs_f64() });
        self.taught.replace(Some(taught));
        said
    }

    /// The probabilities of the classes for features `[photos, width]`: `[photos, classes]`.
    pub fn probabilities(&self, features: Vec<f32>) -> Result<Vec<f64>, JsError> {
        let taught = self.taught.borrow();
        let taught = taught.as_ref().ok_or_else(|| JsError::new("nothing is taught yet"))?;
        if !features.len().is_multiple_of(self.config.width) {
            return Err(JsError::new("features of another network"));
        }
        Ok(taught.probabilities(&features))
    }

    /// The encoder with the classifier on it, as a file that `bootmae predict` reads.
    pub fn classifier(&self) -> Result<Vec<u8>, JsError> {
        let taught = self.taught.borrow();
        let taught = taught.as_ref().ok_or_else(|| JsError::new("nothing is taught yet"))?;
        let mut bytes = Vec::new();
        let model = taught.on(self.file.read()?.model);
        weights(&model, Stored::F32, &mut bytes).map_err(|error| JsError::new(&error.to_string()))?;
        Ok(bytes)
    }
}

impl Encoder {
    /// Features of images; if the device turns out to be lost, it is opened again and asked once more.
    async fn features(&self, images: &[f32], single: bool) -> Result<Vec<f32>> {
        let held = self.held.borrow().clone();
        match self.asked(&held, images, single).await {
            Err(_) if held.device().is_lost() => {
                let device = held.device().reopen().await?;
                let again = Rc::new(Held::new(device, &self.file.read()?.model, FEATURES, batch(&self.config)).await?);
                self.held.replace(again.clone());
                self.single.take();
                self.asked(&again, images, single).await
            }
            answer => answer,
        }
    }

    async fn asked(&self, held: &Rc<Held>, images: &[f32], single: bool) -> Result<Vec<f32>> {
        if !single {
            return held.run(images).await;
        }
        let kept = self.single.borrow().clone();
        let embedder = match kept {
            Some(embedder) => embedder,
            None => {
                let made = Rc::new(held.for_batch(1).await?);
                self.single.replace(Some(made.clone()));
                made
            }
        };
        embedder.run(held.device(), images).await
    }
}

fn set(features: Vec<f32>, width: usize) -> Result<Set> {
    if width == 0 || features.is_empty() || !features.len().is_multiple_of(width) {
        return Err(Error::Config(format!("{} values are no features of {width}", features.len())));
    }
    let classes = vec![0; features.len() / width];
    Ok(Set { values: features, classes })
}

/// The `k` nearest others of each picture by the cosine of their features `[pictures, width]`, the nearest first, for each
/// cosine and number: `[pictures, k, 2]`, `k` being at most one less than there are pictures.
#[wasm_bindgen]
pub fn nearest(features: Vec<f32>, width: usize, k: usize) -> Result<Vec<f32>, JsError> {
    let set = set(features, width)?;
    let k = k.min(set.len() - 1);
    let sets = Sets { classes: vec![String::new()], width, train: set.clone(), test: set, ..Sets::default() };
    let found = neighbours::nearest(&sets, k + 1).into_iter().zip(0..);
    let others = found.flat_map(|(found, own)| found.into_iter().filter(move |(_, other)| *other != own).take(k));
    Ok(others.flat_map(|(cosine, other)| [cosine, other as f32]).collect())
}

/// What nearest neighbours tell of pictures with classes.
#[derive(serde::Serialize)]
struct LeftOut {
    /// Neighbours that voted.
    k: usize,
    /// The share of the pictures whose class the others' votes tell.
    top1: f64,
    /// The share that would be told by naming the class that most of them have.
    chance: f64,
    /// The share of each class.
    classes: Vec<Option<f64>>,
}

/// How many pictures have the class that the `k` nearest others vote for, each weighted by exp(cosine / 0.07), as JSON.
/// `features` are `[pictures, width]`, `classes` the class of each picture, among `count`.
#[wasm_bindgen]
pub fn left_out(
    features: Vec<f32>,
    width: usize,
    classes: Vec<u32>,
    count: usize,
    k: usize,
) -> Result<String, JsError> {
    let train = Set { classes, ..set(features, width)? };
    if train.classes.len() * width != train.values.len() || train.classes.iter().any(|class| *class as usize >= count) {
        return Err(JsError::new("features and classes do not belong together"));
    }
    if train.len() < 2 {
        return Err(JsError::new("one picture has no others"));
    }
    let names: Vec<String> = (0..count).map(|class| class.to_string()).collect();
    let sets = Sets { classes: names, width, train, ..Sets::default() };
    let votes = neighbours::leave_one_out(&sets, k);
    let outcome = Outcome::new(&sets.classes, &votes.weighted, &sets.train.classes);
    let largest = outcome.classes.iter().map(|class| class.images).max().unwrap_or_default();
    json(&LeftOut {
        k: votes.k,
        top1: outcome.top1,
        chance: largest as f64 / sets.train.len() as f64,
        classes: outcome.classes.iter().map(|class| class.top1).collect(),
    })
}

/// Where the features of each picture lie along their first two principal components: `[pictures, 2]`, each deviation 1.
#[wasm_bindgen]
pub fn principal(features: Vec<f32>, width: usize) -> Result<Vec<f32>, JsError> {
    let set = set(features, width)?;
    let count = set.len() as f64;
    let column = |c: usize| set.values.chunks(width).map(|row| f64::from(row[c])).sum::<f64>() / count;
    let mean: Vec<f64> = (0..width).map(column).collect();
    let centred = |row: &[f32]| row.iter().zip(&mean).map(|(v, mean)| f64::from(*v) - mean).collect();
    let found = components(set.values.chunks(width).map(centred).collect(), 2);
    let scale = |along: &[f64]| (along.iter().map(|v| v * v).sum::<f64>() / count).sqrt().max(f64::MIN_POSITIVE);
    let [first, second] = [0, 1].map(|at| (&found[at].along, scale(&found[at].along)));
    let place = |at: usize| [(first.0[at] / first.1) as f32, (second.0[at] / second.1) as f32];
    Ok((0..set.len()).flat_map(place).collect())
}
