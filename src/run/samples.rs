//! What the network makes of one image, drawn now and then while it trains: `samples/step-N.png`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::RgbImage;

use crate::{
    checkpoint::record::Record,
    data::{Picture, Source, augment::resize_centre},
    durable::{sync_parent, warn_once, write_atomically},
    error::{Error, Result},
    infer::network,
    model::{
        Begun, BegunFeatures, Features, ModelConfig, Reconstruction, Reconstructor, Statistics, Teacher, Whose, masking,
    },
    report::picture::{self, Panel, compose, composed_width},
    rng::{Rng, Stream},
    train::Trainer,
};

pub use crate::checkpoint::names::SAMPLES as FOLDER;

/// Images of the collection that are tried until one can be read.
const TRIES: usize = 20;

/// Draws samples of one image, always with the same patches hidden.
pub struct Sampler {
    folder: PathBuf,
    record: Record,
    config: ModelConfig,
    image: Vec<f32>,
    order: Vec<u32>,
    /// Made with the first sample: a run that draws none compiles nothing for them.
    networks: Option<(Reconstructor, Option<Teacher>)>,
}

/// A sample that is on its way.
pub struct BegunSample {
    student: Begun,
    teacher: Option<BegunFeatures>,
}

/// A picture that was written.
#[derive(Debug)]
pub struct Sample {
    /// Width and height.
    pub pixels: (u32, u32),
    /// The bytes of the file.
    pub png: Vec<u8>,
}

impl Sampler {
    /// Takes the first image of `source` that can be read, its centre cut to the model's shape.
    pub fn new(run: &Path, source: &dyn Source, config: &ModelConfig) -> Result<Sampler> {
        let folder = run.join(FOLDER);
        fs::create_dir_all(&folder).and_then(|()| sync_parent(&folder)).map_err(Error::io(&folder))?;
        let (height, width) = (config.image_height, config.image_width);
        let picture = (0..source.len().min(TRIES)).find_map(|index| source.load(index, config.channels).ok());
        let picture = picture.ok_or_else(|| {
            Error::Images(format!("none of the first {TRIES} images can be read; samples need one of them"))
        })?;
        let image = resize_centre(&picture, height, width).normalise(&config.normalise);
        let order = masking::patch_order(config, &mut Rng::new(0, Stream::Mask, 0, 0), 0);
        Ok(Sampler { folder, record: Record::of(run), config: config.clone(), image, order, networks: None })
    }

    /// Submits a reconstruction with the weights after the steps submitted so far, to be handed to [`Sampler::finish`].
    pub async fn begin(&mut self, trainer: &Trainer) -> Result<BegunSample> {
        let networks = match self.networks.take() {
            Some(made) => made,
            None => network::of_trainer(trainer, &self.config).await?,
        };
        let (reconstructor, teacher) = self.networks.insert(networks);
        let device = trainer.device();
        let student = reconstructor.begin(device, &self.image, &self.order);
        Ok(BegunSample { student, teacher: teacher.as_ref().map(|teacher| teacher.begin(device, &self.image)) })
    }

    /// Gives up what it holds on a device that is gone.
    pub fn forget_device(&mut self) {
        self.networks = None;
    }

    /// Waits for the reconstruction of `step` and writes its picture.
    pub async fn finish(&self, trainer: &Trainer, begun: BegunSample, step: u64) -> Result<Sample> {
        let (config, device) = (&self.config, trainer.device());
        let (reconstructor, _) = self.networks.as_ref().expect("a sample was begun");
        let result = reconstructor.finish(device, begun.student).await?;
        let features = match begun.teacher {
            Some(teacher) => result.features(teacher.finish(device).await?),
            None => None,
        };
        let mut caption = format!(
            "Step {step}: {} of {} patches hidden. PSNR of hidden patches {:.1} dB.{}",
            config.masked,
            config.patches(),
            result.psnr(Statistics::Own),
            explained(&result)
        );
        if let Some(features) = &features {
            caption += &told(features);
        }
        let name = format!("step-{step}.png");
        let path = self.folder.join(&name);
        let picture = draw(&result, Statistics::Own, features.as_ref(), &caption);
        let png = picture::png(&picture).map_err(Error::io(&path))?;
        if self.record.claim(&format!("{FOLDER}/{name}"))? {
            write_atomically(&path, |to| to.write_all(&png))?;
        } else {
            warn_once("samples", &format!("{} is no picture of this run and stays as it is", path.display()));
        }
        Ok(Sample { pixels: picture.dimensions(), png })
    }
}

/// Whether a PNG that begins so has the width of a sample of this model.
pub(super) fn is_drawn_for(config: &ModelConfig, start: &[u8]) -> bool {
    let width = start.get(16..20).and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)));
    let (height, side) = (config.image_height, config.image_width);
    [3, 5].iter().any(|panels| width == Some(composed_width(*panels, height, side) as u32))
}

/// What a caption says of the hidden patches' variance, if anything.
pub fn explained(result: &Reconstruction) -> String {
    match result.explained() {
        Some(share) if share >= 0.005 => {
            format!(" {:.0} % of the hidden patches' variance is explained.", share * 100.0)
        }
        Some(share) => {
            format!(" None of the hidden patches' variance is explained yet (the error is {:.2} of it).", 1.0 - share)
        }
        None => String::new(),
    }
}

/// What a caption says of features.
pub fn told(features: &Features) -> String {
    format!(
        " Features: the teacher's first three principal components as red, green and blue; cosine of predicted and \
         teacher's, without their mean, {:.3}.",
        features.cosine()
    )
}

/// Original, masked image and reconstruction side by side, and where features are at hand, predicted and teacher's.
pub fn draw(result: &Reconstruction, from: Statistics, features: Option<&Features>, caption: &str) -> RgbImage {
    let config = result.config();
    let (height, width) = (config.image_height, config.image_width);
    let show = |values: &[f32]| {
        let picture = Picture::from_normalised(values, &config.normalise, config.channels, height, width);
        picture.with_channels(3).pixels
    };
    let (original, masked) = (show(result.original()), show(&hide(result)));
    let rebuilt = show(&result.image(from));
    let maps = features.map(|f| [Whose::Student, Whose::Teacher].map(|whose| paint(config, &f.colours(whose))));
    let mut panels = vec![
        Panel { title: "original", rgb: &original },
        Panel { title: "masked", rgb: &masked },
        Panel { title: "reconstruction", rgb: &rebuilt },
    ];
    let titles = ["predicted features", "teacher's features"];
    panels.extend(titles.into_iter().zip(maps.iter().flatten()).map(|(title, rgb)| Panel { title, rgb }));
    compose(&panels, height, width, caption)
}

/// A picture with a colour for each patch, grey where there is none.
fn paint(config: &ModelConfig, colours: &[Option<[u8; 3]>]) -> Vec<u8> {
    let (p, columns) = (config.patch_size, config.grid().1);
    let at = |y: usize, x: usize| colours[y / p * columns + x / p].unwrap_or([128; 3]);
    (0..config.image_height).flat_map(|y| (0..config.image_width).flat_map(move |x| at(y, x))).collect()
}

/// The image with its hidden patches grey.
fn hide(result: &Reconstruction) -> Vec<f32> {
    let (config, hidden) = (result.config(), result.hidden());
    let (p, columns) = (config.patch_size, config.grid().1);
    let cell = |i: usize| {
        let (left, top) = (i % config.image_width, i / config.image_width % config.image_height);
        (top / p * columns + left / p) as u32
    };
    let shown = result.original().iter().enumerate();
    shown.map(|(i, v)| if hidden.contains(&cell(i)) { 0.0 } else { *v }).collect()
}
