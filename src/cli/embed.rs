//! `bootmae embed`: features of images in a file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};

use super::{
    checkpoint::CheckpointArguments,
    features::{Embedded, EncoderArguments, features_over},
    numbers::whole,
    output::Output,
    ranks,
    terminal::{errln, outln},
};
use crate::{
    data::{Part, chosen},
    dist::World,
    error::{Error, Result},
    infer::feature_file::{Format, beside},
    text::shown,
};

/// Compute the features of images and write them into a file: what `knn` and `probe` take, or other programs.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    checkpoint: CheckpointArguments,
    /// The images, as `pretrain --data` names them; labels are not needed.
    #[arg(long, value_name = "SOURCE")]
    data: String,
    /// The file to write: NAME.safetensors, which `knn` and `probe` read; NAME.npy, with NAME.labels.npy and NAME.names.txt
    /// beside it; NAME.csv or NAME.parquet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Which images of a data set that has two sides; without it those to train on, and all of one that has one side.
    #[arg(long)]
    split: Option<Split>,
    /// Which labels: a column of parquet files, `coarse` of CIFAR-100.
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    #[command(flatten)]
    encoder: EncoderArguments,
    /// Of several processes (mpirun, srun): let those of a machine share its GPUs where it has fewer.
    #[arg(long)]
    share_adapter: bool,
    /// Of several processes: seconds to wait for another one before the job ends with its name.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = whole::<u64>(1, 86_400))]
    watchdog: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Split {
    Train,
    Test,
    All,
}

/// What was written.
#[derive(serde::Serialize)]
struct Written<'a> {
    files: Vec<&'a Path>,
    images: usize,
    width: usize,
    labelled: usize,
    classes: usize,
    left_out: &'a [String],
    seconds: f64,
    images_per_s: f64,
    /// How they were made.
    features: &'a BTreeMap<String, String>,
}

/// Computes, writes and says what was written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let world = World::join(Duration::from_secs(arguments.watchdog))?;
    ranks::ended(&world, embed(arguments, &world))
}

fn embed(arguments: &Arguments, world: &World) -> Result<()> {
    let path = &arguments.out;
    let format = Format::of(path).ok_or_else(|| {
        let endings = "safetensors, npy, csv or parquet";
        Error::Config(format!("--out {}: the name is to end in .{endings}, which says the format", path.display()))
    })?;
    let first = world.rank() == 0;
    let inputs = [arguments.checkpoint.checkpoint.as_path(), Path::new(&arguments.data)];
    let out = first.then(|| Output::new("--out", path, &inputs)).transpose()?;
    let companions = if first && format == Format::Npy { beside(path).to_vec() } else { Vec::new() };
    let others = companions.iter().map(|path| Output::new("--out", path, &inputs)).collect::<Result<Vec<_>>>()?;
    check_companions(path, &companions)?;
    let part = arguments.split.map(|split| match split {
        Split::Train => Part::Train,
        Split::Test => Part::Test,
        Split::All => Part::All,
    });
    let model = arguments.checkpoint.open()?;
    let column = arguments.label_column.as_deref();
    let chosen = chosen(&arguments.data, part, column, column.is_some())?;
    if first {
        errln!("{}", shown(&chosen.how));
    }
    let encoder = arguments.encoder.encoder_for(&model, world, arguments.share_adapter)?;
    let named = (arguments.data.as_str(), chosen.part.name());
    let found = features_over(world, &encoder, &chosen.sources, &chosen.labels, named, model.step)?;
    let (Some(Embedded { features, left_out, seconds }), Some(out)) = (found, out) else { return Ok(()) };
    if let [labels, names] = &others[..] {
        labels.write(|to| features.write_labels(to))?;
        names.write(|to| features.write_names(to))?;
    }
    out.write(|to| features.write(format, to))?;
    let images = features.len();
    let written = Written {
        files: std::iter::once(path.as_path()).chain(companions.iter().map(PathBuf::as_path)).collect(),
        images,
        width: features.width,
        labelled: images - features.labels.unlabelled(),
        classes: features.labels.classes().len(),
        left_out: &left_out,
        seconds,
        images_per_s: images as f64 / seconds,
        features: &features.about,
    };
    if arguments.json {
        outln!("{}", serde_json::to_string_pretty(&written).expect("numbers and texts are JSON"));
        return Ok(());
    }
    let labels = match (written.labelled, written.classes) {
        (0, _) => "without labels".into(),
        (labelled, classes) if labelled == images => format!("labels of {classes} classes"),
        (labelled, classes) => format!("labels of {classes} classes for {labelled} of them"),
    };
    out.say(&format!(
        "{}: {images} features of {} values after step {}, {labels}; {:.0} images/s",
        shown(&path.display().to_string()),
        written.width,
        model.step,
        written.images_per_s
    ));
    companions.iter().for_each(|path| out.say(&shown(&path.display().to_string())));
    Ok(())
}

/// Refuses to replace files that nobody named, unless all three are there, as an earlier `embed` left them.
fn check_companions(array: &Path, companions: &[PathBuf]) -> Result<()> {
    let there = |path: &Path| path.symlink_metadata().is_ok();
    let all = there(array) && companions.iter().all(|path| there(path));
    match companions.iter().find(|path| there(path)) {
        Some(path) if !all => {
            let reason = format!("{} is there without the rest; move it or give another name", path.display());
            Err(Error::Config(format!("--out {}: {reason}", array.display())))
        }
        _ => Ok(()),
    }
}
