//! What is told of runs and of results, read from their folders.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use serde::Deserialize;

use super::{curves::thinned, log};
use crate::{
    error::{Error, Result},
    train::{
        config::RunConfig,
        metrics::{self, Metrics},
    },
};

/// Samples that a report shows of a run, the first and the last among them.
const SAMPLES: usize = 8;

/// The most bytes that are read of a text, and of a picture.
const MOST_TEXT: u64 = 1 << 30;
const MOST_PICTURE: u64 = 32 << 20;

/// A run.
#[derive(Debug)]
pub struct Told {
    /// Its folder, as it was named.
    pub name: String,
    /// `config.toml`.
    pub settings: String,
    config: Option<RunConfig>,
    /// Some of its steps, evenly, those of evaluations and the last among them.
    pub steps: Vec<Metrics>,
    seconds: f64,
    /// The lines of `train.log`.
    pub log: Vec<String>,
    /// Samples as PNG with their steps.
    pub samples: Vec<(u64, Vec<u8>)>,
}

/// What a classifier on features came to.
#[derive(Debug, Deserialize)]
pub struct Evaluated {
    /// Its folder, as it was named.
    #[serde(skip)]
    pub name: String,
    format: String,
    /// The method in words.
    pub method: String,
    /// What was trained and tested on.
    pub how: String,
    /// The share told right.
    pub top1: f64,
    /// The share among the five most probable.
    pub top5: f64,
    /// The confusion matrix as PNG.
    #[serde(skip)]
    pub confusion: Option<Vec<u8>>,
}

impl Told {
    /// Reads the folder of a run.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Checkpoint`] with the path of what is missing or no run's.
    pub fn read(folder: &Path) -> Result<Told> {
        let settings = text(&folder.join("config.toml"))?;
        let lines = text(&folder.join(metrics::FILE_NAME))?;
        let all: Vec<Metrics> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let Some(last) = all.last() else {
            return Err(Error::checkpoint(folder.join(metrics::FILE_NAME), "no step is in it yet"));
        };
        let mut steps = thinned(&lines);
        if steps.last().is_none_or(|step| step.step < last.step) {
            steps.push(last.clone());
        }
        let log = text(&folder.join(log::FILE_NAME)).map(|log| log.lines().map(str::to_owned).collect());
        Ok(Told {
            name: folder.display().to_string(),
            config: toml::from_str(&settings).ok(),
            settings,
            seconds: seconds(&all),
            steps,
            log: log.unwrap_or_default(),
            samples: samples(&folder.join("samples")),
        })
    }

    /// The network in a few words.
    pub fn network(&self) -> Option<String> {
        let model = &self.config.as_ref()?.model;
        let (height, width) = (model.image_height, model.image_width);
        let kind = serde_json::to_value(model.kind).ok()?;
        let kind = match kind.as_str()? {
            "mae" => "MAE",
            _ => "BootMAE",
        };
        Some(format!(
            "{kind}, {} wide, {} blocks, {height} \u{d7} {width} pixels in patches of {}",
            model.width, model.depth, model.patch_size
        ))
    }

    /// Images seen, each as often as it was.
    pub fn images_seen(&self) -> Option<u64> {
        Some(self.steps.last()?.step * self.config.as_ref()?.training.batch_size as u64)
    }

    /// The seconds that it trained, over all processes that went on with it.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// What trained it, as the log says of the last process.
    pub fn adapter(&self) -> Option<&str> {
        self.log.iter().rev().find_map(|line| line.split_once("  bootmae ")?.1.split_once(" on ")).map(|(_, name)| name)
    }
}

impl Evaluated {
    /// Reads a folder of results; none where it is no such folder.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where its results cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Evaluated>> {
        let path = folder.join("results.json");
        if !path.is_file() {
            return Ok(None);
        }
        let results: Evaluated =
            serde_json::from_str(&text(&path)?).map_err(|reason| Error::checkpoint(&path, reason.to_string()))?;
        if results.format != "bootmae results" {
            return Err(Error::checkpoint(path, "not the results of `knn` or `probe`"));
        }
        let confusion = picture(&folder.join("confusion.png"));
        Ok(Some(Evaluated { name: folder.display().to_string(), confusion, ..results }))
    }
}

/// Each process counts from its own start.
fn seconds(steps: &[Metrics]) -> f64 {
    let mut total = 0.0;
    for pair in steps.windows(2).filter(|pair| pair[1].elapsed_s < pair[0].elapsed_s) {
        total += pair[0].elapsed_s;
    }
    total + steps.last().map_or(0.0, |step| step.elapsed_s)
}

fn text(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_TEXT).read_to_end(&mut bytes)).map_err(Error::io(path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A PNG file.
fn picture(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST_PICTURE).read_to_end(&mut bytes).ok()?;
    bytes.starts_with(b"\x89PNG").then_some(bytes)
}

/// The samples of a folder, of many some, evenly.
fn samples(folder: &Path) -> Vec<(u64, Vec<u8>)> {
    let step = |name: &str| name.strip_prefix("step-")?.strip_suffix(".png")?.parse::<u64>().ok();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut steps: Vec<u64> = entries.filter_map(|entry| step(entry.file_name().to_str()?)).collect();
    steps.sort_unstable();
    let count = steps.len().min(SAMPLES);
    let chosen = (0..count).map(|at| steps[if count > 1 { at * (steps.len() - 1) / (count - 1) } else { 0 }]);
    chosen.filter_map(|step| Some((step, picture(&folder.join(format!("step-{step}.png")))?))).collect()
}
