//! `bootmae report`: what runs came to, in one page.

use std::path::PathBuf;

use clap::Args;

use super::output::Output;
use crate::{
    error::{Error, Result},
    report::{
        page::{self, page},
        told::{Evaluated, Told},
    },
    text::shown,
};

/// What is read of a folder.
const READ: [&str; 5] = ["results.json", "confusion.png", "config.toml", "metrics.jsonl", "train.log"];

/// Write an HTML page of one or more runs: curves, samples, accuracies, faults and settings, side by side where there are
/// several. It is one file that loads nothing else.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Run folders, and folders of results of `knn` and `probe`.
    #[arg(value_name = "FOLDER", required = true)]
    folders: Vec<PathBuf>,
    /// The file to write; FOLDER/report.html of the first folder without it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Reads, writes and says where.
pub fn run(arguments: &Arguments) -> Result<()> {
    let path = arguments.out.clone().unwrap_or_else(|| arguments.folders[0].join("report.html"));
    let read: Vec<PathBuf> = arguments.folders.iter().flat_map(|folder| READ.map(|name| folder.join(name))).collect();
    let out = Output::new("--out", &path, &read.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    if arguments.out.is_none() && path.is_file() && !page::is_at(&path) {
        return Err(Error::Config(format!(
            "{} is there and was not written by bootmae; give --out FILE",
            path.display()
        )));
    }
    let (mut runs, mut evaluated) = (Vec::new(), Vec::new());
    for folder in &arguments.folders {
        if !folder.is_dir() {
            return Err(Error::Config(format!(
                "{}: not a folder; give those of runs, or of results of knn and probe",
                folder.display()
            )));
        }
        match Evaluated::read(folder)? {
            Some(results) => evaluated.push(results),
            None => runs.push(Told::read(folder)?),
        }
    }
    out.write(|to| to.write_all(page(&runs, &evaluated).as_bytes()))?;
    out.say(&shown(&path.display().to_string()));
    Ok(())
}
