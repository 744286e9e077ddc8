//! `bootmae data`: look at a collection of images, write it again for fast reading, or time reading it.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::terminal::{errln, outln};
use super::{numbers::whole, output};
use crate::{
    data::{self, Contents},
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

/// Time making training views on one thread: reading, decoding, random crop, scaling.
#[derive(Args, Debug)]
struct Bench {
    /// The images, as `pretrain --data` takes them.
    source: String,
    /// Side of a view in pixels.
    #[arg(long, default_value_t = 224, value_name = "N", value_parser = whole::<u32>(1, 4096))]
    image_size: u32,
    /// Views to make.
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = whole::<u32>(1, u32::MAX.into()))]
    images: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
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
    let bar = bar(source.len());
    let found = data::check(&*source, arguments.threads, |index| bar.set_position(index as u64 + 1));
    bar.finish_and_clear();
    match arguments.json {
        true => outln!("{}", serde_json::to_string_pretty(&found).expect("contents are JSON")),
        false => print(&found),
    }
    Ok(found.unreadable.is_empty())
}

fn print(found: &Contents) {
    outln!("collection        {}", shown(&found.place));
    outln!("images            {}, {} readable", found.images, found.readable);
    if found.classes > 0 {
        outln!("classes           {}", found.classes);
    }
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
    let rate = data::rate(&*source, arguments.image_size as usize, arguments.images as usize)?;
    if arguments.json {
        outln!("{}", serde_json::to_string_pretty(&rate).expect("a rate is JSON"));
        return Ok(());
    }
    outln!("collection        {} images, opened in {opened:.2} s", source.len());
    outln!("rate              {:.1} images/s on one thread", rate.images_per_s);
    outln!("read              {:.3} ms an image", rate.read_ms);
    outln!("decode            {:.3} ms an image", rate.decode_ms);
    outln!("crop and scale    {:.3} ms an image", rate.augment_ms);
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
