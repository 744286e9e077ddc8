//! What a classifier on features came to: in words, as JSON, and as files in a folder.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    output::{Output, folder},
    sets::Opened,
    terminal::{errln, outln},
};
use crate::{
    error::{Error, Result},
    infer::accuracy::{OfClass, Outcome},
    report::{confusion, picture::png},
    text::shown,
};

/// The files of results.
const FILES: [&str; 3] = ["results.json", "confusion.csv", "confusion.png"];

/// What the JSON of results begins with, so that they are known again.
const FORMAT: &str = "bootmae results";

/// Classes up to which a confusion matrix is kept.
const MOST_CLASSES: usize = 2000;

/// Classes up to which each one's share is printed.
const PRINTED: usize = 20;

/// What was measured. `more` is what the verb adds.
#[derive(Serialize)]
pub(super) struct Results<'a, M> {
    format: &'static str,
    /// In words, with its setting: figures of two methods do not compare.
    method: &'a str,
    top1: f64,
    top5: f64,
    #[serde(flatten)]
    more: &'a M,
    /// What both sets are.
    how: &'a str,
    /// How the features were made.
    features: &'a BTreeMap<String, String>,
    train_images: usize,
    test_images: usize,
    left_out: &'a [String],
    images_per_s: Option<f64>,
    classes: usize,
    per_class: &'a [OfClass],
    /// Test images of each class, a row, by what they were taken for; none of very many classes.
    confusion: Option<Vec<Vec<u32>>>,
}

impl<'a, M: Serialize> Results<'a, M> {
    pub(super) fn new(method: &'a str, opened: &'a Opened, outcome: &'a Outcome, more: &'a M) -> Results<'a, M> {
        let Opened { sets, left_out, images_per_s } = opened;
        Results {
            format: FORMAT,
            method,
            top1: outcome.top1,
            top5: outcome.top5,
            more,
            how: &sets.how,
            features: &sets.about,
            train_images: sets.train.len(),
            test_images: sets.test.len(),
            left_out,
            images_per_s: *images_per_s,
            classes: sets.classes.len(),
            per_class: &outcome.classes,
            confusion: outcome.confusion(MOST_CLASSES),
        }
    }

    fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts are JSON")
    }

    /// Prints one JSON object.
    pub(super) fn print_json(&self) {
        outln!("{}", self.json());
    }

    /// Of how many images and classes, and what guessing comes to.
    pub(super) fn of(&self) -> String {
        let chance = 100.0 / self.classes as f64;
        format!("of {} images in {} classes; chance {chance:.1} %", self.test_images, self.classes)
    }

    /// The step of the checkpoint, where it is known.
    pub(super) fn step(&self) -> String {
        self.features.get("step").map_or_else(String::new, |step| format!("step {}, ", shown(step)))
    }

    /// Prints the share of each class, or of the best and the worst of many.
    pub(super) fn print_classes(&self) {
        let mut classes: Vec<(&str, f64)> =
            self.per_class.iter().filter_map(|of| Some((of.class.as_str(), of.top1?))).collect();
        let line = |of: &[(&str, f64)]| {
            let shares: Vec<String> =
                of.iter().map(|(name, top1)| format!("{} {:.1}", shown(name), 100.0 * top1)).collect();
            shares.join(", ")
        };
        if classes.len() <= PRINTED {
            outln!("  top-1 of each class, %: {}", line(&classes));
        } else {
            classes.sort_by(|a, b| b.1.total_cmp(&a.1));
            outln!("  top-1 of the best classes, %: {}", line(&classes[..5]));
            outln!("  top-1 of the worst classes, %: {}", line(&classes[classes.len() - 5..]));
        }
    }

    /// Writes JSON, and the confusion matrix as CSV and as a picture, into a folder.
    pub(super) fn write(&self, to: &ResultFolder) -> Result<()> {
        let [json, csv, picture] = to.paths();
        if let Some(counts) = &self.confusion {
            let names: Vec<String> = self.per_class.iter().map(|of| of.class.clone()).collect();
            let caption = format!(
                "{}{}: top-1 {:.1} %, top-5 {:.1} % {}. A cell is the darker, the more of its row's images it has.",
                self.step(),
                self.method,
                100.0 * self.top1,
                100.0 * self.top5,
                self.of()
            );
            let bytes = png(&confusion::draw(&names, counts, &caption)).map_err(Error::io(&picture))?;
            to.output(&csv)?.write(|to| confusion::write_csv(to, &names, counts))?;
            to.output(&picture)?.write(|to| to.write_all(&bytes))?;
        } else {
            errln!("no confusion matrix of {} classes; at most {MOST_CLASSES} are drawn", self.classes);
        }
        to.output(&json)?.write(|to| writeln!(to, "{}", self.json()))
    }
}

/// A folder for results: one that has none of its files, or those of earlier results.
pub(super) struct ResultFolder(PathBuf);

impl ResultFolder {
    /// The folder that `--out` names, made where it is missing.
    pub(super) fn new(path: &Path, inputs: &[&Path]) -> Result<ResultFolder> {
        let folder = ResultFolder(folder("--out", path)?);
        let [json, ..] = folder.paths();
        let own = || {
            let text = fs::read_to_string(&json).ok();
            let held: Option<serde_json::Value> = text.and_then(|text| serde_json::from_str(&text).ok());
            held.is_some_and(|held| held["format"] == FORMAT)
        };
        let there = folder.paths().into_iter().find(|path| path.symlink_metadata().is_ok());
        if let Some(there) = there.filter(|_| !own()) {
            let name = there.display();
            let reason = format!("{name} is there and no result of this program; give another folder");
            return Err(Error::Config(format!("--out {}: {reason}", path.display())));
        }
        for path in folder.paths() {
            Output::new("--out", &path, inputs)?;
        }
        fs::create_dir_all(&folder.0).map_err(Error::io(&folder.0))?;
        Ok(folder)
    }

    fn paths(&self) -> [PathBuf; 3] {
        FILES.map(|name| self.0.join(name))
    }

    fn output<'p>(&self, path: &'p Path) -> Result<Output<'p>> {
        Output::new("--out", path, &[])
    }
}
