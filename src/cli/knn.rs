//! `bootmae knn`: how well features tell classes apart by their nearest neighbours.

use std::path::PathBuf;

use clap::Args;

use super::{
    numbers::{MOST, whole},
    results::{ResultFolder, Results},
    sets::SetsArguments,
    terminal::{errln, outln},
};
use crate::{
    error::Result,
    infer::{
        accuracy::Outcome,
        neighbours::{TEMPERATURE, Votes, vote},
    },
};

/// Say how well a checkpoint's features tell classes apart: the accuracy of nearest neighbours, without training anything.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    sets: SetsArguments,
    /// How many neighbours vote; several numbers with commas. Classes and confusions are told of the first.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "20", value_parser = whole::<usize>(1, MOST))]
    k: Vec<usize>,
    /// A folder for results.json, confusion.csv and confusion.png.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How many of the test images were told right, as shares of all, with `k` neighbours.
#[derive(serde::Serialize)]
struct Accuracy {
    k: usize,
    top1: f64,
    top5: f64,
    majority_top1: f64,
}

/// What results have beside those of every method.
#[derive(serde::Serialize)]
struct More {
    accuracy: Vec<Accuracy>,
}

/// Reads or computes features, compares and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    let inputs = arguments.sets.inputs();
    let out = arguments.out.as_ref().map(|out| ResultFolder::new(out, &inputs)).transpose()?;
    let opened = arguments.sets.open()?;
    let (sets, right) = (&opened.sets, &opened.sets.test.classes);
    let votes = vote(sets, &arguments.k);
    let outcome = Outcome::new(&sets.classes, &votes[0].weighted, right);
    let accuracy = |Votes { k, weighted, majority }: &Votes| {
        let [weighted, majority] = [weighted, majority].map(|answers| Outcome::new(&sets.classes, answers, right));
        Accuracy { k: *k, top1: weighted.top1, top5: weighted.top5, majority_top1: majority.top1 }
    };
    let more = More { accuracy: votes.iter().map(accuracy).collect() };
    let method = format!("{} nearest neighbours, weighted by exp(cosine / {TEMPERATURE})", votes[0].k);
    let results = Results::new(&method, &opened, &outcome, &more);
    if let Some(out) = &out {
        results.write(out)?;
    }
    if arguments.json {
        results.print_json();
        return Ok(());
    }
    for Accuracy { k, top1, top5, majority_top1 } in &more.accuracy {
        let [top1, top5, majority] = [top1, top5, majority_top1].map(|share| format!("{:.1} %", 100.0 * share));
        let (step, of) = (results.step(), results.of());
        outln!("{step}{k} neighbours: top-1 {top1}, top-5 {top5} (majority {majority}) {of}");
    }
    results.print_classes();
    opened.images_per_s.iter().for_each(|rate| errln!("{rate:.0} images/s"));
    Ok(())
}
