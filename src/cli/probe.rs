//! `bootmae probe`: a linear classifier on features, solved exactly.

use std::{path::PathBuf, time::Instant};

use clap::{Args, ValueEnum};

use super::{
    numbers::{MOST, between, whole},
    results::{ResultFolder, Results},
    sets::SetsArguments,
    terminal::{errln, outln},
};
use crate::{
    error::{Error, Result},
    infer::{
        accuracy::Outcome,
        linear_probe::{Recipe, trained},
        probe::{Candidate, Method, probe},
    },
};

/// Train a linear classifier on a checkpoint's features, which stay as they are, and say how well it tells classes apart.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    sets: SetsArguments,
    /// How the classifier is found: logistic regression by L-BFGS, least squares on one-hot targets in closed form (ridge),
    /// or as published, BatchNorm and a linear layer trained by LARS (lars), here on features that are not augmented.
    #[arg(long, default_value = "logistic")]
    method: Kind,
    /// The inverse strength of the penalty of a logistic regression, as scikit-learn's C; chosen on a held-out tenth of the
    /// training images without it.
    #[arg(long, value_name = "NUMBER", value_parser = between(1e-9, 1e9))]
    c: Option<f64>,
    /// The strength of ridge's penalty; chosen on a held-out tenth of the training images without it.
    #[arg(long, value_name = "NUMBER", value_parser = between(1e-9, 1e9), conflicts_with = "c")]
    lambda: Option<f64>,
    /// Passes over the features, of lars.
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = whole::<usize>(1, 100_000))]
    epochs: usize,
    /// Features of an update, of lars.
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = whole::<usize>(2, MOST))]
    update: usize,
    /// The base learning rate of lars; the highest rate is this × features of an update / 256.
    #[arg(long, value_name = "RATE", default_value_t = 0.1, value_parser = between(1e-9, 1e9))]
    base_rate: f64,
    /// A folder for results.json, confusion.csv and confusion.png.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Logistic,
    Ridge,
    Lars,
}

/// What results of lars have beside those of every method.
#[derive(serde::Serialize)]
struct OfLars {
    epochs: usize,
    update: usize,
    peak_rate: f64,
    /// The best of all epochs, which papers report, and the epoch.
    best_top1: f64,
    best_epoch: usize,
    seconds: f64,
}

/// What results have beside those of every method.
#[derive(serde::Serialize)]
struct More {
    /// The strength of the penalty.
    setting: &'static str,
    value: f64,
    /// What it was chosen from, on so many training images held out.
    candidates: Vec<Candidate>,
    held_out: usize,
    iterations: usize,
    converged: bool,
    seconds: f64,
}

/// Reads or computes features, trains, tests and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    let (method, given) = match (arguments.method, arguments.c, arguments.lambda) {
        (Kind::Logistic, c, None) => (Method::Logistic, c),
        (Kind::Ridge, None, lambda) => (Method::Ridge, lambda),
        (Kind::Lars, None, None) => return lars(arguments),
        (Kind::Lars, ..) => return Err(Error::Config("--c and --lambda are not for --method lars".into())),
        (Kind::Logistic, ..) => return Err(Error::Config("--lambda is for --method ridge; here it is --c".into())),
        (Kind::Ridge, ..) => return Err(Error::Config("--c is for --method logistic; here it is --lambda".into())),
    };
    let inputs = arguments.sets.inputs();
    let out = arguments.out.as_ref().map(|out| ResultFolder::new(out, &inputs)).transpose()?;
    let opened = arguments.sets.open()?;
    let (sets, setting, began) = (&opened.sets, method.setting(), Instant::now());
    let mut say = |tried: &Candidate| {
        let steps =
            if method == Method::Logistic { format!(" after {} steps", tried.iterations) } else { String::new() };
        errln!("{setting} = {}: {:.2} % of the images held out{steps}", tried.value, 100.0 * tried.held_out_top1);
    };
    let probed = probe(sets, method, given, arguments.sets.seed, &mut say)?;
    let outcome = Outcome::new(&sets.classes, &probed.answers, &sets.test.classes);
    let name = match method {
        Method::Logistic => "logistic regression",
        Method::Ridge => "ridge regression",
    };
    let chosen = match (given, probed.held_out) {
        (Some(_), _) => "given".to_owned(),
        (None, 0) => "no class has two images to choose it on".to_owned(),
        (None, images) => format!("chosen on {images} training images held out"),
    };
    let text = format!("{name}, {setting} = {} ({chosen})", probed.value);
    if !probed.converged {
        errln!("WARNING: the solver stopped after {} steps before it came to the end", probed.iterations);
    }
    let more = More {
        setting,
        value: probed.value,
        candidates: probed.candidates,
        held_out: probed.held_out,
        iterations: probed.iterations,
        converged: probed.converged,
        seconds: began.elapsed().as_secs_f64(),
    };
    let results = Results::new(&text, &opened, &outcome, &more);
    if let Some(out) = &out {
        results.write(out)?;
    }
    if arguments.json {
        results.print_json();
        return Ok(());
    }
    let [top1, top5] = [outcome.top1, outcome.top5].map(|share| format!("{:.1} %", 100.0 * share));
    outln!("{}{text}: top-1 {top1}, top-5 {top5} {}", results.step(), results.of());
    results.print_classes();
    opened.images_per_s.iter().for_each(|rate| errln!("{rate:.0} images/s"));
    errln!("solved in {:.1} s", more.seconds);
    Ok(())
}

/// The published probe on features as they are.
fn lars(arguments: &Arguments) -> Result<()> {
    let inputs = arguments.sets.inputs();
    let out = arguments.out.as_ref().map(|out| ResultFolder::new(out, &inputs)).transpose()?;
    let opened = arguments.sets.open()?;
    let (sets, began) = (&opened.sets, Instant::now());
    if sets.train.len() < 2 {
        return Err(Error::Images("BatchNorm needs at least two images to train on".into()));
    }
    let recipe = Recipe {
        epochs: arguments.epochs,
        warmup_epochs: (arguments.epochs / 9).min(10),
        batch: arguments.update,
        base_rate: arguments.base_rate,
        seed: arguments.sets.seed,
        ..Recipe::default()
    };
    let recipe = recipe.within(sets.train.len());
    let (answers, (best_top1, best_epoch)) = trained(sets, recipe, |epoch, right| {
        if epoch.is_multiple_of(10) || epoch == recipe.epochs {
            errln!("epoch {epoch} of {}: {:.2} % of the test images", recipe.epochs, 100.0 * right);
        }
    });
    let outcome = Outcome::new(&sets.classes, &answers, &sets.test.classes);
    let text = format!(
        "BatchNorm and linear layer by LARS, {} epochs of updates of {} features, not augmented",
        recipe.epochs, recipe.batch
    );
    let more = OfLars {
        epochs: recipe.epochs,
        update: recipe.batch,
        peak_rate: recipe.base_rate * recipe.batch as f64 / 256.0,
        best_top1,
        best_epoch,
        seconds: began.elapsed().as_secs_f64(),
    };
    let results = Results::new(&text, &opened, &outcome, &more);
    if let Some(out) = &out {
        results.write(out)?;
    }
    if arguments.json {
        results.print_json();
        return Ok(());
    }
    let [top1, top5] = [outcome.top1, outcome.top5].map(|share| format!("{:.1} %", 100.0 * share));
    outln!("{}{text}: top-1 {top1}, top-5 {top5} {}", results.step(), results.of());
    outln!("best epoch {best_epoch}: {:.1} % (chosen on the test images, as papers do)", 100.0 * best_top1);
    results.print_classes();
    Ok(())
}
