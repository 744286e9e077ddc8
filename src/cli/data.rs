//! `bootmae data`: look at a collection of images, write it again for fast reading, or time reading it.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::terminal::{errln, outln};
use super::{numbers::whole, output};
use crate::{
    data::{self, ClassImages, Contents, LabelOptions, augment::Augmentation},
    error::Result,
    text::{shown, shown_path},
};

/// How many duplicates are named in text; JSON names all.
const NAMED: usize = 20;

/// Check a collection of images, pack it for fast reading, or time reading it.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Check(Check),
    Pack(Pack),
    Bench(Bench),
}

/// Read every image once: sizes, formats, what cannot be read, duplicates. Exit code 1 if something cannot be read.
#[derive(Args, Debug)]
struct Check {
    /// The images, as `pretrain --data` takes them.
    source: String,
    /// The labels to count where there are several: a column of parquet files, `coarse` of CIFAR-100.
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// Threads that decode; 0 for one per processor.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = whole::<usize>(0, 4096))]
    threads: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Write the images again, scaled down, as tar shards of PNG files that `--data DIR` reads.
#[derive(Args, Debug)]
struct Pack {
    /// The images, as `pretrain --data` takes them.
    source: String,
    /// The shards' folder: new or empty.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// The shorter side of larger images afterwards, in pixels.
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = whole::<u32>(1, 16_384))]
    image_size: u32,
    /// Threads that decode; 0 for one per processor.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = whole::<usize>(0, 4096))]
    threads: usize,
}

/// Time making training views on one thread: reading, decoding, cropping, scaling and what else augments them.
#[derive(Args, Debug)]
struct Bench {
    /// The images, as `pretrain --data` takes them.
    source: String,
    /// Side of a view in pixels.
    #[arg(long, default_value_t = 224, value_name = "N", value_parser = whole::<u32>(1, 4096))]
    image_size: u32,
    /// Whose views: pre-training's (crop, mirror) or fine-tuning's (also RandAugment and erasing).
    #[arg(long, value_enum, default_value_t = Chain::Pretrain, value_name = "CHAIN")]
    augment: Chain,
    /// Views to make.
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = whole::<u32>(1, u32::MAX.into()))]
    images: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `data bench` does to pictures.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Chain {
    Pretrain,
    Finetune,
}

/// Runs the verb. `Ok(false)` is a collection with unreadable images.
pub fn run(arguments: &Arguments) -> Result<bool> {
    match &arguments.verb {
        Verb::Check(arguments) => check(arguments),
        Verb::Pack(arguments) => pack(arguments).map(|()| true),
        Verb::Bench(arguments) => bench(arguments).map(|()| true),
    }
}

fn check(arguments: &Check) -> Result<bool> {
    let source = data::open(&arguments.source)?;
    let column = arguments.label_column.as_deref();
    let options = LabelOptions { column: column.map(str::to_owned), ..LabelOptions::default() };
    let sides = data::labelled(&arguments.source, &options);
    // Where both sides were opened as one collection, it is compared with itself.
    let is_within = |name: String| (0..source.len()).any(|index| source.name(index) == name);
    let test = sides.as_ref().ok().filter(|sides| !sides.held_out).map(|sides| &*sides.test.source);
    let test = test.filter(|test| !is_within(test.name(0)));
    let bar = bar(source.len());
    let mut found = data::check(&*source, test, column, arguments.threads, |index| bar.set_position(index as u64 + 1));
    bar.finish_and_clear();
    if found.classes > 0 {
        found.sides = Some(sides.map_or_else(|error| format!("cannot be used: {error}"), |sides| sides.how));
    }
    match arguments.json {
        true => outln!("{}", serde_json::to_string_pretty(&found).expect("contents are JSON")),
        false => print(&found),
    }
    Ok(found.unreadable.is_empty())
}

fn print(found: &Contents) {
    outln!("collection        {}", shown(&found.place));
    outln!("images            {}, {} readable", found.images, found.readable);
    print_classes(found);
    let [[least_width, most_width], [least_height, most_height]] = [found.width, found.height];
    outln!("width             {least_width} to {most_width}");
    outln!("height            {least_height} to {most_height}");
    let sizes = found.common_sizes.iter().map(|[width, height, n]| format!("{width}×{height}: {n}"));
    let more = if found.sizes > found.common_sizes.len() { ", …" } else { "" };
    outln!("sizes             {} different; {}{more}", found.sizes, sizes.collect::<Vec<_>>().join(", "));
    let kinds: Vec<String> = found.kinds.iter().map(|(kind, n)| format!("{kind}: {n}")).collect();
    outln!("stored as         {}", kinds.join(", "));
    outln!("duplicates        {}", found.duplicates.len());
    for duplicate in found.duplicates.iter().take(NAMED) {
        outln!("  {} is {}", shown(&duplicate.name), shown(&duplicate.of));
    }
    if found.duplicates.len() > NAMED {
        outln!("  … (--json names all)");
    }
    if !found.test_duplicates.is_empty() {
        outln!("also to test on   {}", found.test_duplicates.len());
        for duplicate in found.test_duplicates.iter().take(NAMED) {
            outln!("  {} is {}", shown(&duplicate.name), shown(&duplicate.of));
        }
    }
    outln!("unreadable        {}", found.unreadable.len());
    for image in &found.unreadable {
        outln!("  {}: {}", shown(&image.name), shown(&image.reason));
    }
    let mut title = "besides";
    for line in found.passed_over.lines() {
        outln!("{title:17} {line}");
        title = "";
    }
}

fn print_classes(found: &Contents) {
    if let Some(reason) = &found.labels_refused {
        outln!("classes           none: the labels cannot be used ({reason})");
        return;
    }
    let few = found.images_per_class.iter().min_by_key(|class| class.images);
    let most = found.images_per_class.iter().rev().max_by_key(|class| class.images);
    let (Some(few), Some(most)) = (few, most) else {
        outln!("classes           none: no image has a label");
        return;
    };
    let of = |class: &ClassImages| format!("{} ({})", class.images, shown(&class.class));
    match few.images == most.images {
        true => outln!("classes           {} of {} images", found.classes, few.images),
        false => outln!("classes           {} of {} to {} images", found.classes, of(few), of(most)),
    }
    if found.unlabelled > 0 {
        outln!("unlabelled        {}", found.unlabelled);
    }
    if let Some(sides) = &found.sides {
        outln!("sides             {sides}");
    }
}

fn pack(arguments: &Pack) -> Result<()> {
    let out = output::folder("--out", &arguments.out)?;
    let source = data::open(&arguments.source)?;
    source.passed_over().lines().iter().for_each(|line| errln!("{line}"));
    let bar = bar(source.len());
    let (side, began) = (arguments.image_size as usize, Instant::now());
    let packed = data::pack(&*source, &out, side, arguments.threads, |index| {
        bar.set_position(index as u64 + 1);
    });
    bar.finish_and_clear();
    let packed = packed?;
    if let Some(reason) = &packed.labels_refused {
        errln!("packed without labels, which cannot be used: {reason}");
    }
    packed.unreadable.iter().for_each(|image| errln!("left out: {}: {}", shown(&image.name), shown(&image.reason)));
    let mib = packed.bytes as f64 / f64::from(1 << 20);
    outln!(
        "{}: {} images in {} shards, {mib:.1} MiB, {:.1} s; train with --data {0}",
        shown_path(&arguments.out),
        packed.images,
        packed.shards,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

fn bench(arguments: &Bench) -> Result<()> {
    let began = Instant::now();
    let source = data::open(&arguments.source)?;
    source.passed_over().lines().iter().for_each(|line| errln!("{line}"));
    let opened = began.elapsed().as_secs_f64();
    let chain = match arguments.augment {
        Chain::Pretrain => Augmentation::pretraining(),
        Chain::Finetune => Augmentation::finetuning(),
    };
    let rate = data::rate(&*source, &chain, arguments.image_size as usize, arguments.images as usize)?;
    if arguments.json {
        outln!("{}", serde_json::to_string_pretty(&rate).expect("a rate is JSON"));
        return Ok(());
    }
    outln!("collection        {} images, opened in {opened:.2} s", source.len());
    outln!("rate              {:.1} images/s on one thread", rate.images_per_s);
    outln!("read              {:.3} ms an image", rate.read_ms);
    outln!("decode            {:.3} ms an image", rate.decode_ms);
    outln!("augment           {:.3} ms an image", rate.augment_ms);
    if rate.unreadable > 0 {
        outln!("unreadable        {} of {}", rate.unreadable, rate.unreadable + rate.images);
    }
    Ok(())
}

/// A bar on a terminal, nothing elsewhere.
fn bar(images: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} images  {eta}").expect("a valid template");
    ProgressBar::new(images as u64).with_style(style)
}
