//! Whether a network in training tells the classes of its pictures apart better and better: by the nearest neighbours of
//! labelled pictures among others. It reads the weights where they stand and changes nothing of the run.

use std::collections::BTreeSet;

use web_time::Instant;

use crate::{
    data::{Division, Labels, Picture, Source},
    error::{Error, Result},
    infer::{
        accuracy::Outcome,
        encoder::{Embedder, FeatureOptions, Norm, Pool},
        neighbours::{self, vote},
        sets::{Set, Sets},
    },
    lower::Precision,
    model::{ModelConfig, Whose},
    rng::{Rng, Stream},
    train::{Trainer, WEIGHTS},
};

/// Neighbours that vote.
const K: usize = 20;
/// Pictures to find neighbours among, at most, and how many come on one to test on.
const MOST: usize = 1000;
const TRAIN_TO_TEST: usize = 5;
/// Where fewer would be held out to test on, each picture is asked for among all others.
const LEAST: usize = 50;
/// Bytes of all pictures that are kept, at most: large ones are fewer.
const MOST_BYTES: usize = 128 << 20;
/// Pictures that pass through the network together, at most.
const BATCH: usize = 64;
/// Patches of them together, at most, or as many pictures as a step has: for those there is room on the GPU.
const PATCHES: usize = 8192;

/// What was found.
#[derive(serde::Serialize)]
pub(super) struct Found {
    /// How many classes the pictures have.
    classes: usize,
    /// Pictures that neighbours are found among.
    train: usize,
    /// Pictures whose neighbours are found: as many as `train` where each is asked for among the others.
    test: usize,
    leave_one_out: bool,
    /// Neighbours that voted.
    k: usize,
    /// The share of the pictures to test on whose class their neighbours tell.
    top1: f64,
    /// The share that would be told by naming the class that most of them have.
    chance: f64,
    /// What finding out took, without what was made once.
    seconds: f64,
}

/// Pictures with classes, and the encoder that looks at them.
pub(super) struct Neighbours {
    /// Without features.
    sets: Sets,
    train: Vec<Picture>,
    /// None where each of `train` is asked for among the others.
    test: Vec<Picture>,
    batch: usize,
    encoder: Option<Embedder>,
}

/// At most so many pictures that can be told apart by class: those to find neighbours among, and those to test on.
fn division(labels: &Labels, most: usize) -> Option<Division> {
    let share = most / (1 + TRAIN_TO_TEST);
    let (most, least) = match share < LEAST {
        true => ([most.min(MOST), 0], usize::MAX),
        false => ([(most - share).min(MOST), share.min(MOST / TRAIN_TO_TEST)], LEAST),
    };
    Division::of(labels, 0, most, least, &mut Rng::new(0, Stream::Evaluate, 0, 0))
}

/// How many classes the pictures have, where they can be told apart.
pub(super) fn classes(source: &dyn Source) -> Option<usize> {
    let labels = source.labels(None).ok()?;
    division(&labels, usize::MAX).map(|_| labels.counts().iter().filter(|count| **count > 0).count())
}

/// The student's encoder over the weights of a trainer.
async fn encoder(trainer: &Trainer, model: &ModelConfig, batch: usize) -> Result<Embedder> {
    let (whose, pool, norm) = (Whose::Student, Pool::Mean, Norm::None);
    let options = FeatureOptions { whose, pool, norm, blocks: None, precision: Precision::F32 };
    let over = (trainer.layout(), trainer.arenas(), WEIGHTS);
    Embedder::over(trainer.device(), model, over, options, batch).await
}

impl Neighbours {
    /// Decodes the pictures that are evaluated, as many as the encoder looks at in `budget` seconds; none where they have no
    /// classes to tell apart.
    pub(super) async fn new(
        source: &dyn Source,
        trainer: &Trainer,
        model: &ModelConfig,
        budget: f64,
    ) -> Result<Option<Neighbours>> {
        let Some(labels) = source.labels(None).ok().filter(|labels| division(labels, usize::MAX).is_some()) else {
            return Ok(None);
        };
        let room = (PATCHES / model.patches()).max(trainer.options().micro_batch);
        let batch = BATCH.min(labels.len()).min(room);
        let encoder = encoder(trainer, model, batch).await?;
        let (height, width) = (model.image_height, model.image_width);
        let pixels = model.channels * height * width;
        let blank = vec![0.0; batch * pixels];
        // The first time its kernels are compiled.
        encoder.run(trainer.device(), &blank).await?;
        let begins = Instant::now();
        encoder.run(trainer.device(), &blank).await?;
        let batches = budget / begins.elapsed().as_secs_f64().max(1e-6);
        let most = ((batches * batch as f64) as usize).max(batch).min(MOST_BYTES / pixels).max(2);
        let Some(division) = division(&labels, most) else { return Ok(None) };
        let read = |images: &[u32]| {
            let view = |image: &u32| {
                let picture = source.load(*image as usize, model.channels).ok()?;
                Some((model.evaluation_view(&picture), labels.of(*image as usize)?))
            };
            images.iter().filter_map(view).unzip::<_, _, Vec<_>, Vec<_>>()
        };
        let (train, of_train) = read(&division.train);
        let (test, of_test) = read(&division.test);
        let classes = (0..labels.classes().len()).map(|class| labels.classes().name(class)).collect();
        let set = |classes| Set { classes, ..Set::default() };
        let sets = Sets { classes, width: model.width, train: set(of_train), test: set(of_test), ..Sets::default() };
        Ok((train.len() > 1).then_some(Neighbours { sets, train, test, batch, encoder: Some(encoder) }))
    }

    /// Gives up what it holds on a device that is gone.
    pub(super) fn forget_device(&mut self) {
        self.encoder = None;
    }

    /// What the student's features tell, with the weights as they are.
    pub(super) async fn evaluate(&mut self, trainer: &Trainer, model: &ModelConfig) -> Result<Found> {
        let encoder = match self.encoder.take() {
            Some(made) => made,
            None => encoder(trainer, model, self.batch).await?,
        };
        let encoder = self.encoder.insert(encoder);
        let begins = Instant::now();
        let mut sets = self.sets.clone();
        for (pictures, set) in [(&self.train, &mut sets.train), (&self.test, &mut sets.test)] {
            for batch in pictures.chunks(self.batch) {
                let images: Vec<f32> = batch.iter().flat_map(|picture| picture.normalise(&model.normalise)).collect();
                set.values.extend(encoder.run(trainer.device(), &images).await?);
            }
        }
        if sets.train.values.iter().chain(&sets.test.values).any(|value| !value.is_finite()) {
            return Err(Error::Diverged("the features of the pictures are not finite".into()));
        }
        let (train, leave_one_out) = (sets.train.len(), sets.test.is_empty());
        let (votes, right) = match leave_one_out {
            true => (neighbours::leave_one_out(&sets, K), &sets.train.classes),
            false => (vote(&sets, &[K]).remove(0), &sets.test.classes),
        };
        let outcome = Outcome::new(&sets.classes, &votes.weighted, right);
        let largest = outcome.classes.iter().map(|class| class.images).max().unwrap_or_default();
        let classes: BTreeSet<&u32> = sets.train.classes.iter().chain(&sets.test.classes).collect();
        Ok(Found {
            classes: classes.len(),
            train,
            test: right.len(),
            leave_one_out,
            k: votes.k,
            top1: outcome.top1,
            chance: largest as f64 / right.len() as f64,
            seconds: begins.elapsed().as_secs_f64(),
        })
    }
}
