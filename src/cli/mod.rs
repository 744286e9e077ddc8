//! The command `bootmae`: one file per verb.

mod bench;
mod data;
mod doctor;
mod dry_run;
mod export;
mod http;
mod plan;
mod pretrain;
pub mod progress;
mod reconstruct;
mod serve;
mod signals;
mod site;
mod tuning;
mod verify;

use clap::{Args, Parser, Subcommand};

use crate::{
    device::{Device, DeviceOptions},
    error::Result,
};

/// Pretrain vision transformers with bootstrapped masked autoencoders (BootMAE) on any GPU.
#[derive(Parser, Debug)]
#[command(name = "bootmae", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Doctor(doctor::Arguments),
    Plan(plan::Arguments),
    Pretrain(Box<pretrain::Arguments>),
    Reconstruct(reconstruct::Arguments),
    Export(export::Arguments),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    Data(data::Arguments),
    Serve(serve::Arguments),
}

/// Runs the verb that the command line names. `Ok(false)` is a check that failed without an error.
pub fn run(cli: Cli) -> Result<bool> {
    match cli.verb {
        Verb::Doctor(arguments) => doctor::run(&arguments),
        Verb::Plan(arguments) => plan::run(&arguments),
        Verb::Pretrain(arguments) => pretrain::run(&arguments).map(|()| true),
        Verb::Reconstruct(arguments) => reconstruct::run(&arguments).map(|()| true),
        Verb::Export(arguments) => export::run(&arguments).map(|()| true),
        Verb::Verify(arguments) => verify::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments).map(|()| true),
        Verb::Data(arguments) => data::run(&arguments),
        Verb::Serve(arguments) => serve::run(&arguments).map(|()| true),
    }
}

#[derive(Args, Debug)]
struct AdapterArguments {
    /// Part of the adapter's name, or its index in `bootmae doctor`.
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
}

impl AdapterArguments {
    /// Opens the adapter and names it on standard error.
    fn open(&self) -> Result<Device> {
        let options = DeviceOptions { adapter: self.adapter.clone(), ..Default::default() };
        let device = pollster::block_on(Device::open(&options))?;
        eprintln!("adapter: {}", device.adapter());
        Ok(device)
    }
}

/// Sizes of a model on the command line.
#[derive(Args, Debug)]
struct ModelArguments {
    /// Preset: nano, tiny, small, base or large.
    #[arg(long, value_name = "PRESET")]
    model: Option<String>,
    /// Side of the square input in pixels.
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
    /// Side of a patch in pixels.
    #[arg(long, value_name = "N")]
    patch_size: Option<usize>,
}

impl ModelArguments {
    /// The flags as the `[model]` table of a configuration.
    fn table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        let sizes = [("image_size", self.image_size), ("patch_size", self.patch_size)];
        for (key, value) in sizes.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            table.insert(key.into(), (value as i64).into());
        }
        table
    }
}
