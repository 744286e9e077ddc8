//! Features of the images of a source, for the verbs that compute them.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc, time::Instant};

use clap::{Args, ValueEnum};

use super::{
    arguments::AdapterArguments,
    numbers::{MOST, whole},
    progress::Progress,
    ranks::{self, Abreast},
    terminal::errln,
};
use crate::{
    checkpoint::Model,
    data::{Labels, Source, each},
    dist::World,
    error::{Error, Result},
    infer::{
        encoder::{Encoder, FeatureOptions, Norm, Pool},
        features::Features,
    },
    lower::Precision,
    model::Whose,
    text::shown,
};

/// Which features are computed, and how.
#[derive(Args, Debug)]
pub(super) struct EncoderArguments {
    /// Whose features: the trained network's, or its moving average's.
    #[arg(long, default_value = "student")]
    weights: Weights,
    /// What is made one vector of an image's tokens: the mean of the patches', or the class token after the final norm.
    #[arg(long, default_value = "mean")]
    pool: Pooling,
    /// How features are normalised: not at all; every token by the encoder's final norm, before pooling; or the pooled vector
    /// by a LayerNorm without weights.
    #[arg(long, default_value = "none")]
    norm: Normalisation,
    /// Blocks of the encoder that are run, all without it.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST))]
    blocks: Option<usize>,
    /// Images that pass through the encoder together. It changes the speed and no bit of a feature.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<usize>(1, 4096))]
    batch_size: usize,
    /// In what precision weights and activations are multiplied.
    #[arg(long, value_name = "f32|f16", default_value_t)]
    precision: Precision,
    #[command(flatten)]
    adapter: AdapterArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Weights {
    Student,
    Teacher,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Pooling {
    Mean,
    Cls,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Normalisation {
    None,
    Final,
    Plain,
}

impl EncoderArguments {
    /// Opens the adapter and puts the encoder of a checkpoint on it.
    pub(super) fn encoder(&self, model: &Model) -> Result<Encoder> {
        self.encoder_for(model, &World::alone(), false)
    }

    /// The same for one of several processes, which may share GPUs where they have to.
    pub(super) fn encoder_for(&self, model: &Model, world: &World, shared: bool) -> Result<Encoder> {
        let device = self.adapter.open_for(world, shared)?;
        ranks::agree(world, "adapter", &device.adapter().name)?;
        self.adapter.remark(&device).iter().for_each(|line| errln!("{line}"));
        let options = FeatureOptions {
            whose: match self.weights {
                Weights::Student => Whose::Student,
                Weights::Teacher => Whose::Teacher,
            },
            pool: match self.pool {
                Pooling::Mean => Pool::Mean,
                Pooling::Cls => Pool::Cls,
            },
            norm: match self.norm {
                Normalisation::None => Norm::None,
                Normalisation::Final => Norm::Final,
                Normalisation::Plain => Norm::Plain,
            },
            blocks: self.blocks,
            precision: self.precision,
        };
        pollster::block_on(Encoder::new(device, model, options, self.batch_size))
    }
}

/// Features of images, and how they were come by.
pub(super) struct Embedded {
    pub(super) features: Features,
    /// The names of images that cannot be read.
    pub(super) left_out: Vec<String>,
    pub(super) seconds: f64,
}

/// The features of the images of `sources`, one source after the other, `labels` being those of all. Images are decoded
/// ahead of the encoder; those that cannot be read are named and left out. `place` and `split` are how messages and files
/// name the images, `step` that of the checkpoint.
pub(super) fn features_of(
    encoder: &Encoder,
    sources: &[Arc<dyn Source>],
    labels: &Labels,
    (place, split): (&str, &str),
    step: u64,
) -> Result<Embedded> {
    let alone = features_over(&World::alone(), encoder, sources, labels, (place, split), step)?;
    Ok(alone.expect("a process by itself has all features"))
}

/// The same over several processes, each of which computes a part; the first one has all features then, in the same order.
pub(super) fn features_over(
    world: &World,
    encoder: &Encoder,
    sources: &[Arc<dyn Source>],
    labels: &Labels,
    (place, split): (&str, &str),
    step: u64,
) -> Result<Option<Embedded>> {
    let (config, began) = (encoder.config(), Instant::now());
    let own = ranks::part(world, labels.len());
    let mut about: BTreeMap<String, String> = encoder.about();
    let images = [("source", place), ("split", split), ("step", &step.to_string())];
    about.extend(images.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let mut features = Features { place: place.into(), about, width: config.width, ..Features::default() };
    ranks::alike(world, sources)?;
    ranks::agree(world, "features", &format!("{:?}", features.about))?;
    let mut abreast = Abreast::new(world, own.len());
    let (mut left_out, mut first) = (Vec::new(), 0);
    let progress = RefCell::new((world.rank() == 0).then(|| Progress::new(own.len() as u64, 0)));
    for source in sources {
        let view = |index: usize| {
            let picture = source.load(index, config.channels)?;
            Ok(config.evaluation_view(&picture).normalise(&config.normalise))
        };
        let (mut images, mut ran) = (Vec::new(), Ok(()));
        let of_a_batch = encoder.batch() * config.channels * config.image_height * config.image_width;
        let mut run = |images: &mut Vec<f32>, done: usize| -> Result<()> {
            features.values.extend(pollster::block_on(encoder.run(images))?);
            images.clear();
            progress.borrow_mut().iter_mut().for_each(|progress| progress.images(done as u64));
            Ok(())
        };
        // The part of this process among this source's images.
        let of_source = own.start.clamp(first, first + source.len())..own.end.clamp(first, first + source.len());
        let start = of_source.start - first;
        each(
            of_source.len(),
            0,
            |index| view(start + index),
            |index, view: Result<Vec<f32>, String>| {
                let index = start + index;
                match view {
                    Ok(view) => {
                        images.extend(view);
                        features.images.push((first + index) as i64);
                        features.names.push(source.name(index));
                    }
                    Err(reason) => {
                        let name = source.name(index);
                        let line = format!("left out: {name} ({reason})");
                        progress
                            .borrow()
                            .as_ref()
                            .map_or_else(|| errln!("{}", shown(&line)), |progress| progress.println(&line));
                        left_out.push(name);
                    }
                }
                if ran.is_ok() {
                    ran = abreast.done(first + index + 1 - own.start);
                }
                if ran.is_ok() && images.len() == of_a_batch {
                    ran = run(&mut images, first + index + 1 - own.start);
                }
                ran.is_ok()
            },
        );
        ran?;
        if !images.is_empty() {
            run(&mut images, first + start + of_source.len() - own.start)?;
        }
        first += source.len();
    }
    progress.into_inner().into_iter().for_each(Progress::finish);
    if let Some(at) = features.values.iter().position(|value| !value.is_finite()) {
        let name = &features.names[at / features.width];
        let reason = format!("its features of {} are not finite numbers", shown(name));
        return Err(Error::checkpoint("the checkpoint", reason));
    }
    abreast.end()?;
    let Features { values, images, names, .. } = &mut features;
    ranks::gathered(world, (images, names, &mut left_out), values)?;
    if world.rank() > 0 {
        return Ok(None);
    }
    if features.names.is_empty() {
        return Err(Error::Images(format!("none of the images of {} can be read", shown(place))));
    }
    let kept: Vec<u32> = features.images.iter().map(|image| *image as u32).collect();
    features.labels = labels.some(&kept);
    Ok(Some(Embedded { features, left_out, seconds: began.elapsed().as_secs_f64() }))
}
