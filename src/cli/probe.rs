//! `bootmae probe`: a linear classifier on features, solved exactly.

use std::{path::PathBuf, time::Instant};

use clap::{Args, ValueEnum};

use super::{
    numbers::between,
    results::{ResultFolder, Results},
    sets::SetsArguments,
    terminal::{errln, outln},
};
use crate::{
    error::{Error, Result},
    infer::{
        accuracy::Outcome,
        probe::{Candidate, Method, probe},
    },
};

/// Train a linear classifier on a checkpoint's features, which stay as they are, and say how well it tells classes apart.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    sets: SetsArguments,
    /// How the classifier is solved: logistic regression by L-BFGS, or least squares on one-hot targets in closed form.
    #[arg(long, default_value = "logistic")]
    method: Kind,
    /// The inverse strength of the penalty of a logistic regression, as scikit-learn's C; chosen on a held-out tenth of the
    /// training images without it.
    #[arg(long, value_name = "NUMBER", value_parser = between(1e-9, 1e9))]
    c: Option<f64>,
    /// The strength of ridge's penalty; chosen on a held-out tenth of the training images without it.
    #[arg(long, value_name = "NUMBER", value_parser = between(1e-9, 1e9), conflicts_with = "c")]
    lambda: Option<f64>,
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
