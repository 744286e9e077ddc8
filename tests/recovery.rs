//! Runs that lose their device, or whose updates are refused, and what they end with; and what long ones hold.

mod common;

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

use bootmae::{
    checkpoint, data,
    device::DeviceOptions,
    error::{Error, Result},
    kernels::Tuning,
    lower::Precision,
    run::{
        pretrain::{Event, Images, Run, Start},
        run_folder::{Entry, RunFolder},
        stop::{Ended, Stops},
    },
    train::{
        config::{RunConfig, resolve},
        metrics::Metrics,
        snapshot::LOSS_SCALE,
        team::Team,
        training::{self, Training},
    },
};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photos/train");
const STEPS: u64 = 6;

fn config(steps: u64, limit: Option<f64>) -> RunConfig {
    let text = format!(
        "[model]\nimage_size = 16\nwidth = 32\ndepth = 2\nheads = 2\npixel_decoder_width = 32\n\
         [training]\nsteps = {steps}\nbatch_size = 2\nsave_every_steps = 3\nseed = 3\n[data]\nsource = \"{PHOTOS}\"\n"
    );
    let mut config = resolve(Some("nano"), None, text.parse().unwrap()).unwrap();
    config.training.gradient_norm_limit = limit;
    config
}

/// What became of a run, the measurements of its steps, and what it told when it went back.
struct Story {
    end: Result<Ended>,
    steps: Vec<Metrics>,
    recovered: Vec<(String, u64)>,
}

/// One run at a time: their memory is that of the process.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs to the end; the device is lost when the results of step `lose_after` arrive.
fn run(folder: &Path, config: RunConfig, lose_after: Option<u64>) -> Story {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let source = data::open(PHOTOS).unwrap();
    let device = common::one_device(DeviceOptions::default());
    let lose = device.destroyer();
    let tuning = Tuning::for_device(&device);
    let entered = RunFolder::enter(folder, Entry::New).unwrap();
    let mut run = pollster::block_on(Run::new(
        config,
        entered,
        Images::plain(source),
        device,
        tuning,
        Start::Seed,
        Team::alone(),
    ))
    .unwrap();
    let (mut steps, mut recovered) = (Vec::new(), Vec::new());
    let mut lose_after = lose_after;
    let end = pollster::block_on(run.train(&Stops::default(), |event| match event {
        Event::Step(metrics) => {
            steps.push(metrics.clone());
            if lose_after.take_if(|step| *step == metrics.step).is_some() {
                lose();
            }
        }
        Event::Recovered(what, step) => {
            recovered.push((what.to_string(), step));
            steps.truncate(step as usize);
        }
        _ => {}
    }));
    Story { end, steps, recovered }
}

fn losses(steps: &[Metrics]) -> Vec<(u64, f64, f64)> {
    steps.iter().map(|metrics| (metrics.step, metrics.loss, metrics.gradient_norm)).collect()
}

#[test]
fn a_run_that_loses_its_device_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let calm = run(&whole, config(STEPS, None), None);
    let lost = run(&parts, config(STEPS, None), Some(5));
    assert_eq!((calm.end.unwrap(), lost.end.unwrap()), (Ended::Finished, Ended::Finished));
    assert_eq!(calm.recovered, []);
    let [(what, 3)] = &lost.recovered[..] else { panic!("{:?}", lost.recovered) };
    assert!(what.contains("lost") && what.contains("back to step 3"), "{what}");
    assert_eq!(losses(&calm.steps), losses(&lost.steps));
    for file in ["model.safetensors", "teacher.safetensors", "optimizer.safetensors", "state.json"] {
        let read = |run: &Path| fs::read(run.join("checkpoints").join(format!("step-{STEPS}")).join(file)).unwrap();
        assert!(read(&whole) == read(&parts), "{file} differs");
    }
    let lines = |run: &Path| fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count();
    assert_eq!(lines(&whole), lines(&parts));

    // With the limit a little below the largest gradient, that step's images are left out and the run still finishes.
    let mut norms: Vec<f64> = calm.steps.iter().map(|metrics| metrics.gradient_norm).collect();
    norms.sort_by(f64::total_cmp);
    let limit = (norms[STEPS as usize - 1] + norms[STEPS as usize - 2]) / 2.0;
    let spiked = folder.path().join("spiked");
    let story = run(&spiked, config(STEPS, Some(limit)), None);
    assert_eq!(story.end.unwrap(), Ended::Finished, "{:?}", story.recovered);
    assert!(!story.recovered.is_empty());
    let told = &story.recovered[0].0;
    assert!(told.contains(&format!("above {limit}")) && told.contains(".jpg"), "{told}");
    assert!(story.steps.len() as u64 == STEPS && story.steps.iter().all(|metrics| metrics.gradient_norm <= limit));
    let left_out = checkpoint::read_any(&spiked).unwrap().left_out;
    assert!(!left_out.is_empty() && left_out.len() <= 2 * story.recovered.len(), "{left_out:?}");
}

#[test]
fn a_run_in_half_precision_goes_on_with_the_same_bits_and_over_overflows() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let mut half = config(STEPS, None);
    half.training.precision = Precision::F16;
    let calm = run(&whole, half.clone(), None);
    let lost = run(&parts, half.clone(), Some(5));
    assert_eq!((calm.end.unwrap(), lost.end.unwrap()), (Ended::Finished, Ended::Finished));
    assert!(calm.recovered.is_empty() && lost.recovered.len() == 1);
    assert_eq!(losses(&calm.steps), losses(&lost.steps));
    let read = |run: &Path| {
        fs::read(run.join("checkpoints").join(format!("step-{STEPS}")).join("optimizer.safetensors")).unwrap()
    };
    assert!(read(&whole) == read(&parts), "the loss scale is part of the state");

    // A scale that is far too high falls by half a step, and nothing is taken for a fault.
    let mut state = checkpoint::read_any(&whole).unwrap();
    assert_eq!(state.group(LOSS_SCALE)[0].data, [65536.0, STEPS as f32]);
    state.groups.get_mut(LOSS_SCALE).unwrap()[0].data[0] = 2f32.powi(36);
    half.training.steps = 40;
    let device = common::one_device(DeviceOptions::default());
    let tuning = Tuning::for_device(&device);
    let start = training::Start::State(Box::new(state), whole.clone());
    let task = half.planned_task();
    let training = Training::new(half, task, data::open(PHOTOS).unwrap(), device, tuning, start, Team::alone());
    let mut training = pollster::block_on(training).unwrap();
    let mut steps = Vec::new();
    while steps.len() < 24 {
        pollster::block_on(training.submit(40)).unwrap();
        steps.push(pollster::block_on(training.take()).unwrap().metrics);
    }
    let skipped = steps.iter().take_while(|metrics| !metrics.gradient_norm.is_finite()).count();
    assert!((4..24).contains(&skipped), "{steps:#?}");
    assert_eq!(steps[0].loss_scale, Some(2f64.powi(36)));
    for pair in steps.windows(2) {
        let falls = if pair[0].gradient_norm.is_finite() { 1.0 } else { 0.5 };
        assert_eq!(pair[1].loss_scale, pair[0].loss_scale.map(|scale| scale * falls), "{steps:#?}");
    }
}

#[test]
fn a_run_without_a_way_forward_gives_up_with_its_state_saved() {
    let folder = tempfile::tempdir().unwrap();
    let story = run(folder.path(), config(STEPS, Some(1e-9)), None);
    let error = story.end.unwrap_err();
    assert!(matches!(&error, Error::Diverged(_)) && error.exit_code() == 5, "{error}");
    assert_eq!(story.recovered.iter().map(|(_, step)| *step).collect::<Vec<_>>(), [0; 3]);
    assert!(error.to_string().contains("after going back 3 times; the state of step 0 is saved"), "{error}");
    assert_eq!(checkpoint::read_any(folder.path()).unwrap().step, 0);
}

/// Steps by default 200; `BOOTMAE_LONG_STEPS=2000` for more.
#[test]
fn a_long_run_holds_no_more_memory_at_its_end() {
    let steps = std::env::var("BOOTMAE_LONG_STEPS").map_or(200, |steps| steps.parse().expect("a number of steps"));
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(steps, None);
    config.training.save_every_steps = 20;
    let story = run(folder.path(), config, None);
    assert_eq!(story.end.unwrap(), Ended::Finished);
    let after_50 = |of: fn(&Metrics) -> f64| {
        let values: Vec<f64> = story.steps[50..].iter().map(of).collect();
        let part = values.len() / 3;
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        (most(&values[..part]), most(&values[values.len() - part..]))
    };
    let gpu = after_50(|metrics| metrics.gpu_bytes as f64);
    assert_eq!(gpu.0, gpu.1);
    let (early, late) = after_50(|metrics| metrics.resident_bytes.unwrap_or_default() as f64);
    println!("resident memory {early} bytes at most in the first third after step 50, {late} in the last");
    assert!(late <= 1.01 * early, "resident memory grew from {early} to {late} bytes");
}
