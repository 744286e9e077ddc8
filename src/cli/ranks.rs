//! What processes that train together settle before they begin: the first one decides, the others hear of it, and whatever
//! differs between them ends the job.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    data::{Collection, Source},
    device::Device,
    dist::World,
    error::{Error, Result},
    kernels::{self, Tuning},
    run::pretrain::Start,
    text::shown,
    train::config::RunConfig,
};

/// The end of this process's part. An error is everyone's: the job ends with its exit code, and nobody is left waiting.
pub(super) fn ended(world: &World, result: Result<()>) -> Result<()> {
    match result {
        Err(Error::Stopped(reason)) => {
            world.leave()?;
            Err(Error::Stopped(reason))
        }
        Err(error) if world.size() > 1 => world.abort(i32::from(error.exit_code()), &error.to_string()),
        Err(error) => Err(error),
        Ok(()) => world.leave(),
    }
}

/// Deals the micro-batches of an update out to the processes; says what a person should know. A run that goes on with a
/// number of processes that its parts cannot be dealt out to gets more of them.
pub(super) fn deal_out(world: &World, config: &mut RunConfig, start: &mut Start) -> Result<Option<String>> {
    let (batch, parts, ranks) = (config.training.batch_size, config.training.micro_batches, world.size());
    if parts.is_multiple_of(ranks) {
        return Ok(None);
    }
    let all = parts * ranks;
    if !batch.is_multiple_of(all) {
        let near = |down: bool| if down { batch / all * all } else { batch.div_ceil(all) * all };
        let fitting: Vec<_> = [near(true), near(false)].into_iter().filter(|n| *n > 0).map(|n| n.to_string()).collect();
        return Err(Error::Config(format!(
            "a batch of {batch} images cannot be dealt out to {ranks} processes with {parts} passes each; --batch-size {} \
             can",
            fitting.join(" or ")
        )));
    }
    config.training.micro_batches = all;
    match start {
        Start::Resumed(from) => {
            from.snapshot.config.training.micro_batches = all;
            Ok(Some(format!("{all} parts an update instead of {parts}, for {ranks} processes: sums round otherwise")))
        }
        _ => Ok(None),
    }
}

/// Compares what has to be the same everywhere: program, settings, images.
pub(super) fn compare(world: &World, config: &RunConfig, source: &dyn Source) -> Result<()> {
    if world.size() == 1 {
        return Ok(());
    }
    let collection = serde_json::to_string(&Collection::of(source)).expect("plain values are JSON");
    let program = format!("bootmae {}, kernels {:016x}", env!("CARGO_PKG_VERSION"), kernels::fingerprint());
    agree(world, "program", &program)?;
    agree(world, "settings", &config.to_toml()?)?;
    agree(world, "images", &collection)
}

/// Tells the others which kernel variants to compute with.
pub(super) fn tell_tuning(world: &World, device: &Device, tuning: &Tuning) -> Result<()> {
    if world.size() == 1 {
        return Ok(());
    }
    tell(world, &serde_json::to_string(tuning).expect("texts are JSON"))?;
    agree(world, "adapter", &device.adapter().name)
}

/// Hears of it.
pub(super) fn told_tuning(world: &World, device: &Device) -> Result<Tuning> {
    let text: String = told(world)?;
    agree(world, "adapter", &device.adapter().name)?;
    Tuning::read(&text).map_err(Error::Config)
}

/// Says something to the others.
pub(super) fn tell(world: &World, what: &impl Serialize) -> Result<()> {
    world.broadcast(serde_json::to_vec(what).expect("plain values are JSON")).map(drop)
}

/// Hears what the first process says.
pub(super) fn told<T: DeserializeOwned>(world: &World) -> Result<T> {
    serde_json::from_slice(&world.broadcast(Vec::new())?)
        .map_err(|error| Error::Config(format!("what the first process says cannot be read: {error}")))
}

/// Refuses a difference between processes.
fn agree(world: &World, what: &str, own: &str) -> Result<()> {
    let all = world.gather(own.as_bytes())?;
    let texts: Vec<_> = all.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    for (rank, text) in texts.iter().enumerate() {
        let differing = texts[0].lines().zip(text.lines()).find(|(first, other)| first != other);
        if let Some((first, other)) = differing {
            return Err(Error::Config(format!(
                "the {what} of process {rank} are not those of process 0: `{}` instead of `{}`. All processes need the same",
                shown(other),
                shown(first)
            )));
        }
        if *text != texts[0] {
            return Err(Error::Config(format!(
                "the {what} of process {rank} are longer or shorter than those of process 0"
            )));
        }
    }
    Ok(())
}
