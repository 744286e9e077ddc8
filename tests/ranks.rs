//! Processes that train together, as threads of this one: they end with the bits of one process that makes as many passes.

mod common;

use std::{env, sync::Arc};

use bootmae::{
    data,
    device::DeviceOptions,
    dist::{Settings, World, threads},
    kernels::Tuning,
    train::{
        config::{RunConfig, resolve},
        metrics::Metrics,
        snapshot::Snapshot,
        team::Team,
        training::{Start, Training},
    },
};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photos/train");
const STEPS: u64 = 3;

fn config(parts: usize, more: &str) -> RunConfig {
    let text = format!(
        "[model]\nimage_size = 16\nwidth = 32\ndepth = 2\nheads = 2\npixel_decoder_width = 32\n\
         [training]\nsteps = 100\nbatch_size = 8\nmicro_batches = {parts}\nsave_every_steps = {STEPS}\nseed = 3\n\
         {more}\n[data]\nsource = \"{PHOTOS}\"\n"
    );
    resolve(Some("nano"), None, text.parse().unwrap()).unwrap()
}

/// What each of these processes measured in some steps from a state or the start, and the state that each ends with.
fn trained(
    config: &RunConfig,
    worlds: Vec<World>,
    from: Option<&Snapshot>,
    steps: u64,
) -> Vec<(Vec<Metrics>, Arc<Snapshot>)> {
    let start = || from.map_or(Start::Seed, |state| Start::State(Box::new(state.clone()), "a state".into()));
    let last = from.map_or(0, |state| state.step) + steps;
    let one = |world: World| {
        let device = common::one_device(DeviceOptions::default());
        let tuning = Tuning::for_device(&device);
        pollster::block_on(async {
            let (task, source) = (config.planned_task(), data::open(PHOTOS).unwrap());
            let team = Team::of(world.clone());
            let training = Training::new(config.clone(), task, source, device, tuning, start(), team).await;
            let (mut training, mut steps) = (training.unwrap(), Vec::new());
            while training.step() < last {
                training.submit(last).await.unwrap();
                steps.push(training.take().await.unwrap().metrics);
            }
            world.leave().unwrap();
            (steps, training.good().clone())
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = worlds.into_iter().map(|world| scope.spawn(|| one(world))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn worlds(size: usize) -> Vec<World> {
    threads::world(size, Settings::default(), None).unwrap().into_iter().map(World::of).collect()
}

/// What is the same for equal runs, to the bit: neither times nor memory.
fn measured(steps: &[Metrics]) -> Vec<String> {
    let of = |m: &Metrics| {
        let scalars: Vec<_> = m.scalars.iter().map(|(name, value)| (name.to_owned(), value.to_bits())).collect();
        format!("{} {:x} {:x} {scalars:x?}", m.step, m.loss.to_bits(), m.gradient_norm.to_bits())
    };
    steps.iter().map(of).collect()
}

#[test]
fn two_processes_end_with_the_bits_of_one_with_two_passes() {
    for more in ["", "precision = \"f16\""] {
        let config = config(2, more);
        let alone = trained(&config, vec![World::alone()], None, STEPS).remove(0);
        assert!(alone.1.groups.len() >= 3, "weights, moments and teacher");
        for (steps, state) in trained(&config, worlds(2), None, STEPS) {
            assert_eq!(measured(&steps), measured(&alone.0), "{more}");
            assert!(state.groups == alone.1.groups, "{more}");
        }
        if more.is_empty() {
            let halves = trained(&crate::config(2, "wire = \"f16\""), worlds(2), None, STEPS);
            assert!(halves.iter().all(|(_, state)| state.groups == halves[0].1.groups), "equal bits everywhere");
            assert!(halves[0].1.groups != alone.1.groups, "halves round");
            for (half, exact) in halves[0].0.iter().zip(&alone.0) {
                assert!((half.loss - exact.loss).abs() < 1e-3, "{} {}", half.loss, exact.loss);
            }
        }
    }
}

/// `BOOTMAE_RANKS=8,1,2` takes these numbers of processes one after another.
#[test]
fn a_run_of_changing_numbers_of_processes_ends_with_the_bits_of_one() {
    let config = config(8, "reduction = \"tree\"");
    let numbers = env::var("BOOTMAE_RANKS").unwrap_or_else(|_| "2,1,4".into());
    let numbers: Vec<usize> = numbers.split(',').map(|size| size.parse().expect("a number")).collect();
    let (mut state, mut told): (Option<Arc<Snapshot>>, _) = (None, Vec::new());
    for size in &numbers {
        let worlds = if *size == 1 { vec![World::alone()] } else { worlds(*size) };
        let mut all = trained(&config, worlds, state.as_deref(), STEPS);
        for (steps, end) in &all {
            assert_eq!(measured(steps), measured(&all[0].0), "{size} processes");
            assert!(end.groups == all[0].1.groups, "{size} processes");
        }
        let (steps, end) = all.remove(0);
        (state, told) = (Some(end), [told, measured(&steps)].concat());
    }
    let all = STEPS * numbers.len() as u64;
    let alone = trained(&config, vec![World::alone()], None, all).remove(0);
    assert_eq!(told, measured(&alone.0));
    assert!(state.unwrap().groups == alone.1.groups);
    // The order matters here, or nothing was shown.
    let in_turn = trained(&crate::config(8, ""), vec![World::alone()], None, all).remove(0);
    assert!(in_turn.1.groups != alone.1.groups);
}
