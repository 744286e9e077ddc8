//! What processes that train together settle before they begin: the first one decides, the others hear of it, and whatever
//! differs between them ends the job.

use std::{ops::Range, sync::Arc};

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
    agree(world, "settings", &config.to_toml()?)?;
    same_program(world)?;
    same_images(world, source)
}

/// The same where there are no settings of a run.
pub(super) fn alike(world: &World, sources: &[Arc<dyn Source>]) -> Result<()> {
    if world.size() == 1 {
        return Ok(());
    }
    same_program(world)?;
    agree(world, "sources", &sources.len().to_string())?;
    sources.iter().try_for_each(|source| same_images(world, &**source))
}

fn same_program(world: &World) -> Result<()> {
    let program = format!("bootmae {}, kernels {:016x}", env!("CARGO_PKG_VERSION"), kernels::fingerprint());
    agree(world, "program", &program)
}

fn same_images(world: &World, source: &dyn Source) -> Result<()> {
    agree(world, "images", &serde_json::to_string(&Collection::of(source)).expect("plain values are JSON"))
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

/// Keeps processes abreast that otherwise exchange nothing for long: each waits for the others at every thousandth of its
/// part, so that none is taken for lost.
pub(super) struct Abreast<'w> {
    world: &'w World,
    parts: usize,
    passed: usize,
}

impl<'w> Abreast<'w> {
    const MARKS: usize = 1000;

    /// At the beginning of a part of so many things.
    pub(super) fn new(world: &'w World, parts: usize) -> Abreast<'w> {
        Abreast { world, parts, passed: 0 }
    }

    /// After so many of them.
    pub(super) fn done(&mut self, count: usize) -> Result<()> {
        self.pass((count as u128 * Self::MARKS as u128 / self.parts.max(1) as u128) as usize)
    }

    /// After all.
    pub(super) fn end(&mut self) -> Result<()> {
        self.pass(Self::MARKS)
    }

    fn pass(&mut self, marks: usize) -> Result<()> {
        while self.passed < marks.min(Self::MARKS) {
            self.passed += 1;
            if self.world.size() > 1 {
                self.world.leave()?;
            }
        }
        Ok(())
    }
}

/// The part of `count` things that this process sees to.
pub(super) fn part(world: &World, count: usize) -> Range<usize> {
    let bound = |rank: usize| (count as u128 * rank as u128 / world.size() as u128) as usize;
    bound(world.rank())..bound(world.rank() + 1)
}

/// Puts the parts of all processes together on the first one: numbers and names of images, those left out, and values, which
/// travel in pieces.
pub(super) fn gathered(
    world: &World,
    (images, names, left_out): (&mut Vec<i64>, &mut Vec<String>, &mut Vec<String>),
    values: &mut Vec<f32>,
) -> Result<()> {
    const PIECE: usize = 4 << 20;
    if world.size() == 1 {
        return Ok(());
    }
    let own = serde_json::to_vec(&(&*images, &*names, &*left_out, values.len())).expect("plain values are JSON");
    let read = |bytes: &Vec<u8>| {
        serde_json::from_slice::<(Vec<i64>, Vec<String>, Vec<String>, usize)>(bytes)
            .map_err(|error| Error::Config(format!("what a process says cannot be read: {error}")))
    };
    let all = world.gather(&own)?.iter().map(read).collect::<Result<Vec<_>>>()?;
    let longest = all.iter().map(|(.., count)| *count).max().unwrap_or_default();
    let mut parts: Vec<Vec<f32>> = vec![Vec::new(); world.size()];
    for start in (0..longest).step_by(PIECE) {
        let own = &values[start.min(values.len())..(start + PIECE).min(values.len())];
        let pieces = world.gather(bytemuck::cast_slice(own))?;
        if world.rank() == 0 {
            parts
                .iter_mut()
                .zip(pieces)
                .for_each(|(part, piece)| part.extend(bytemuck::pod_collect_to_vec::<_, f32>(&piece)));
        }
    }
    if world.rank() == 0 {
        *values = parts.concat();
        (*images, *names, *left_out) = Default::default();
        for (numbers, of_images, unread, _) in all {
            images.extend(numbers);
            names.extend(of_images);
            left_out.extend(unread);
        }
    }
    Ok(())
}

/// Refuses a difference between processes.
pub(super) fn agree(world: &World, what: &str, own: &str) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::{Settings, threads};

    /// What each of some processes gives.
    fn each<T: Send>(size: usize, of: impl Fn(World) -> T + Sync) -> Vec<T> {
        let members = threads::world(size, Settings::default(), None).unwrap();
        std::thread::scope(|scope| {
            let threads: Vec<_> = members.into_iter().map(|end| scope.spawn(|| of(World::of(end)))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn parts_are_dealt_out_evenly_or_made_more() {
        let parts = |size: usize, batch: usize, parts: usize| {
            let of = |world: World| {
                let mut config = RunConfig::default();
                (config.training.batch_size, config.training.micro_batches) = (batch, parts);
                let dealt = deal_out(&world, &mut config, &mut Start::Seed).map_err(|error| error.to_string());
                dealt.map(|remark| (config.training.micro_batches, remark))
            };
            each(size, of).remove(0)
        };
        assert_eq!(parts(1, 8, 3), Ok((3, None)));
        assert_eq!(parts(2, 8, 4), Ok((4, None)));
        assert_eq!(parts(4, 8, 1), Ok((4, None)));
        assert_eq!(parts(4, 64, 2), Ok((8, None)));
        let refused = parts(3, 8, 1).unwrap_err();
        assert!(refused.contains("--batch-size 6 or 9"), "{refused}");
    }

    #[test]
    fn what_differs_between_processes_is_named() {
        let found = each(3, |world| {
            let own = if world.rank() == 2 { "seed = 1\nsteps = 7" } else { "seed = 1\nsteps = 6" };
            agree(&world, "settings", own).map_err(|error| error.to_string())
        });
        for refused in found {
            let refused = refused.unwrap_err();
            assert!(refused.contains("the settings of process 2") && refused.contains("steps = 7"), "{refused}");
        }
        assert!(each(2, |world| agree(&world, "settings", "a\nb")).into_iter().all(|agreed| agreed.is_ok()));
    }

    #[test]
    fn parts_come_together_in_order() {
        let found = each(3, |world| {
            let part = part(&world, 8);
            let mut images: Vec<i64> = part.clone().map(|image| image as i64).collect();
            let mut names: Vec<String> = part.clone().map(|image| image.to_string()).collect();
            let mut values: Vec<f32> = part.clone().flat_map(|image| [image as f32, 0.5]).collect();
            let mut left_out = vec![world.rank().to_string()];
            gathered(&world, (&mut images, &mut names, &mut left_out), &mut values).unwrap();
            (images, names, left_out, values)
        });
        let (images, names, left_out, values) = &found[0];
        assert_eq!(*images, (0..8).collect::<Vec<i64>>());
        assert_eq!((names.join(""), left_out.join("")), ("01234567".into(), "012".into()));
        assert_eq!(*values, (0..8).flat_map(|image| [image as f32, 0.5]).collect::<Vec<f32>>());
    }

    #[test]
    fn processes_with_parts_of_unequal_length_stay_abreast() {
        let ended = each(3, |world| {
            let parts = [3, 0, 5000][world.rank()];
            let mut abreast = Abreast::new(&world, parts);
            (1..=parts).try_for_each(|done| abreast.done(done)).and_then(|()| abreast.end())
        });
        assert!(ended.into_iter().all(|end| end.is_ok()));
    }

    #[test]
    fn the_first_process_is_heard() {
        let heard = each(3, |world| match world.rank() {
            0 => tell(&world, &Some("runs/a")).map(|()| None),
            _ => told::<Option<String>>(&world),
        });
        let heard: Vec<_> = heard.into_iter().map(Result::unwrap).collect();
        assert_eq!(heard, [None, Some("runs/a".into()), Some("runs/a".into())]);
    }
}
