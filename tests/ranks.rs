//! Processes that train together, as threads of this one: they end with the bits of one process that makes as many passes.

mod common;

use std::sync::Arc;

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
         [training]\nsteps = {STEPS}\nbatch_size = 8\nmicro_batches = {parts}\nsave_every_steps = {STEPS}\nseed = 3\n\
         {more}\n[data]\nsource = \"{PHOTOS}\"\n"
    );
    resolve(Some("nano"), None, text.parse().unwrap()).unwrap()
}

/// What each of these processes measured, and the state that each ends with.
fn trained(config: &RunConfig, worlds: Vec<World>) -> Vec<(Vec<Metrics>, Arc<Snapshot>)> {
    let one = |world: World| {
        let device = common::one_device(DeviceOptions::default());
        let tuning = Tuning::for_device(&device);
        pollster::block_on(async {
            let (task, source) = (config.planned_task(), data::open(PHOTOS).unwrap());
            let team = Team::of(world.clone());
            let training = Training::new(config.clone(), task, source, device, tuning, Start::Seed, team).await;
            let (mut training, mut steps) = (training.unwrap(), Vec::new());
            while training.step() < STEPS {
                training.submit(STEPS).await.unwrap();
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
        let alone = trained(&config, vec![World::alone()]).remove(0);
        assert!(alone.1.groups.len() >= 3, "weights, moments and teacher");
        for (steps, state) in trained(&config, worlds(2)) {
            assert_eq!(measured(&steps), measured(&alone.0), "{more}");
            assert!(state.groups == alone.1.groups, "{more}");
        }
    }
}

#[test]
fn four_processes_hold_equal_bits() {
    let config = config(4, "");
    let all = trained(&config, worlds(4));
    let alone = trained(&config, vec![World::alone()]).remove(0);
    for (steps, state) in &all {
        assert_eq!(measured(steps), measured(&all[0].0));
        assert!(state.groups == all[0].1.groups);
    }
    // Sums of more than two in another order.
    let distance = (all[0].0[0].gradient_norm / alone.0[0].gradient_norm - 1.0).abs();
    assert!(distance < 1e-5, "{distance}");
}
