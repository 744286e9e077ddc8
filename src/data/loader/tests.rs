use super::super::augment::Augmentation;
use super::super::{Normalisation, Picture, Share, Stored};
use super::*;
use crate::rng::{Rng, Stream};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Pictures of one grey each, the image's number; some unreadable, one that panics; counts what is loaded.
#[derive(Default)]
struct Greys {
    len: usize,
    bad: BTreeSet<usize>,
    panics: Option<usize>,
    slow: bool,
    loads: AtomicUsize,
}

impl Source for Greys {
    fn len(&self) -> usize {
        self.len
    }

    fn place(&self) -> String {
        "greys".into()
    }

    fn name(&self, index: usize) -> String {
        format!("grey {index}")
    }

    fn read(&self, index: usize) -> Result<Stored, String> {
        let load = self.loads.fetch_add(1, Ordering::SeqCst);
        if self.slow {
            thread::sleep(Duration::from_micros((load as u64 * 7919) % 700));
        }
        assert_ne!(Some(index), self.panics, "this image panics");
        match self.bad.contains(&index) {
            true => Err("damaged".into()),
            false => Ok(Stored::Pixels(Picture { height: 5, width: 7, channels: 1, pixels: ramp(index) })),
        }
    }
}

fn ramp(index: usize) -> Vec<u8> {
    (0..35).map(|at| (index + at % 7 * 20) as u8).collect()
}

fn greys(len: usize, bad: &[usize]) -> Arc<Greys> {
    Arc::new(Greys { len, bad: bad.iter().copied().collect(), slow: true, ..Greys::default() })
}

fn options(batch_size: usize) -> LoaderOptions {
    LoaderOptions { batch_size, height: 4, width: 4, channels: 1, seed: 9, threads: 2, ..LoaderOptions::default() }
}

fn batches(source: Arc<Greys>, options: LoaderOptions, range: std::ops::Range<u64>) -> Vec<Batch> {
    let mut loader = Loader::new(source, options, range.start).unwrap();
    range.map(|_| loader.next().unwrap()).collect()
}

fn refusal(source: Arc<Greys>, options: LoaderOptions) -> String {
    let mut loader = Loader::new(source, options, 0).unwrap();
    let error = (0..200).find_map(|_| loader.next().err()).expect("must fail");
    assert_eq!(error.exit_code(), 3);
    assert_eq!(loader.next().unwrap_err().to_string(), error.to_string());
    error.to_string()
}

#[test]
fn every_epoch_has_each_sample_once() {
    let made = batches(greys(10, &[]), options(4), 0..5);
    let samples: Vec<(u64, usize)> = made.iter().flat_map(|batch| batch.samples.clone()).collect();
    for (epoch, part) in samples.chunks(10).enumerate() {
        assert!(part.iter().all(|sample| sample.0 == epoch as u64), "{part:?}");
        assert_eq!(part.iter().map(|sample| sample.1).collect::<BTreeSet<_>>().len(), 10);
    }
    assert!(made.iter().all(|batch| batch.images.len() == 64 && batch.bad.is_empty()));
    assert!(made.iter().all(|batch| batch.shown.iter().zip(&batch.samples).all(|(shown, of)| *shown == of.1)));
}

#[test]
fn batches_do_not_depend_on_threads_or_prefetch() {
    let source = || greys(50, &[3]);
    let expected = batches(source(), LoaderOptions { threads: 1, prefetch: 0, ..options(8) }, 0..12);
    for (threads, prefetch) in [(1, 3), (2, 0), (5, 2), (0, 1)] {
        assert_eq!(batches(source(), LoaderOptions { threads, prefetch, ..options(8) }, 0..12), expected);
    }
}

#[test]
fn shares_of_a_batch_are_its_slots_in_turn() {
    let whole = batches(greys(50, &[3]), options(8), 2..9);
    let part = |part| batches(greys(50, &[3]), LoaderOptions { share: Share { part, of: 4 }, ..options(8) }, 2..9);
    for (index, part) in (0..4).map(part).enumerate() {
        for (part, whole) in part.iter().zip(&whole) {
            let slots = index * 2..index * 2 + 2;
            assert_eq!(part.images, whole.images[slots.start * 16..slots.end * 16]);
            assert_eq!((&part.samples[..], &part.shown[..]), (&whole.samples[slots.clone()], &whole.shown[slots]));
        }
    }
    let odd = LoaderOptions { share: Share { part: 0, of: 3 }, ..options(8) };
    assert_eq!(Loader::new(greys(50, &[]), odd, 0).err().unwrap().exit_code(), 2);
}

#[test]
fn a_loader_started_later_continues_the_same_run() {
    let max_bad_fraction = 0.05;
    let options = LoaderOptions { max_bad_fraction, ..options(8) };
    let whole = batches(greys(60, &[3, 20, 41]), options.clone(), 0..20);
    let resumed = batches(greys(60, &[3, 20, 41]), options, 11..20);
    for (resumed, whole) in resumed.iter().zip(&whole[11..]) {
        assert_eq!((&resumed.images, &resumed.samples), (&whole.images, &whole.samples));
        assert_eq!(resumed.shown, whole.shown);
    }
}

#[test]
fn views_differ_from_epoch_to_epoch_and_seed_to_seed() {
    let first = |seed, batch| batches(greys(1, &[]), LoaderOptions { seed, ..options(1) }, batch..batch + 1);
    assert_ne!(first(1, 0)[0].images, first(1, 1)[0].images);
    assert_ne!(first(1, 0)[0].images, first(2, 0)[0].images);
}

#[test]
fn corrupt_image_is_skipped_and_named() {
    let made = batches(greys(20, &[7]), options(5), 0..12);
    let named: Vec<&String> = made.iter().flat_map(|batch| &batch.bad).collect();
    assert_eq!(named, ["grey 7: damaged"]);
    let mut replacements = BTreeSet::new();
    for batch in &made {
        for (&shown, &(epoch, sample)) in batch.shown.iter().zip(&batch.samples) {
            assert_ne!(shown, 7);
            if sample == 7 {
                replacements.insert((epoch, shown));
            }
        }
    }
    assert_eq!(replacements.len(), 3, "one in each of 3 epochs: {replacements:?}");
}

#[test]
fn more_corrupt_images_than_allowed_end_the_run() {
    let bad: Vec<usize> = (0..100).filter(|index| index % 25 == 3).collect();
    let message = refusal(greys(100, &bad), LoaderOptions { max_bad_fraction: 0.03, ..options(10) });
    assert!(
        message.contains("4 of 100 images of greys cannot be read") && message.contains("3 % allowed"),
        "{message}"
    );
    assert!(message.contains("grey 3: damaged; grey 28: damaged; grey 53: damaged; …"), "{message}");
    batches(greys(100, &bad), LoaderOptions { max_bad_fraction: 0.04, ..options(10) }, 0..20);
}

#[test]
fn one_corrupt_image_is_allowed_in_a_small_collection_unless_none_may_be() {
    batches(greys(3, &[1]), options(3), 0..4);
    assert!(refusal(greys(3, &[1, 2]), options(3)).contains("2 of 3 images"));
    let strict = LoaderOptions { max_bad_fraction: 0.0, ..options(3) };
    assert!(refusal(greys(3, &[1]), strict).contains("1 of 3 images of greys cannot be read"));
}

#[test]
fn images_left_out_are_replaced_and_not_named() {
    let left_out = BTreeSet::from([1, 4]);
    let some = LoaderOptions { left_out: left_out.clone(), max_bad_fraction: 0.0, ..options(5) };
    let made = batches(greys(10, &[]), some.clone(), 0..8);
    assert!(made.iter().all(|batch| batch.bad.is_empty() && !batch.shown.iter().any(|i| left_out.contains(i))));
    assert!(made.iter().any(|batch| batch.samples.iter().any(|(_, sample)| left_out.contains(sample))));
    assert_eq!(batches(greys(10, &[]), LoaderOptions { threads: 1, ..some }, 3..8), made[3..]);
    let all = LoaderOptions { left_out: (0..10).collect(), ..options(5) };
    assert!(Loader::new(greys(10, &[]), all, 0).unwrap().next().is_err());
}

#[test]
fn a_collection_without_a_readable_image_ends_at_once() {
    let all: Vec<usize> = (0..30).collect();
    let any = LoaderOptions { max_bad_fraction: 1.0, ..options(4) };
    assert!(refusal(greys(30, &all), any.clone()).contains("none of the 30 images of greys can be read"));
    let source = greys(30, &all);
    let mut loader = Loader::new(source.clone(), options(4), 0).unwrap();
    assert!(loader.next().unwrap_err().to_string().contains("2 of 30 images of greys cannot be read"));
    drop(loader);
    assert!(source.loads.load(Ordering::SeqCst) <= 2 * 3 * 4);
    assert_eq!(batches(greys(30, &all[1..]), any, 0..1)[0].shown, [0; 4]);
}

#[test]
fn fewer_images_than_a_batch_are_refused() {
    let error = Loader::new(greys(3, &[]), options(8), 0).err().unwrap();
    assert_eq!(error.exit_code(), 3);
    let message = error.to_string();
    assert!(message.contains("greys: 3 images are fewer than a batch of 8"), "{message}");
    assert!(message.contains("--batch-size"), "{message}");
    let made = batches(greys(3, &[]), options(3), 0..3);
    assert_eq!(made.iter().map(|batch| batch.samples[0].0).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_panic_in_a_worker_is_an_error_and_not_a_hang() {
    let source = Arc::new(Greys { len: 6, panics: Some(4), ..Greys::default() });
    let message = refusal(source, options(3));
    assert!(message.contains("reading sample 4 of epoch") && message.contains("this image panics"), "{message}");
}

#[test]
fn no_more_is_made_ahead_than_asked_for() {
    let source = greys(1000, &[]);
    let mut loader = Loader::new(source.clone(), LoaderOptions { prefetch: 3, ..options(5) }, 0).unwrap();
    loader.next().unwrap();
    loader.next().unwrap();
    let ahead = (2 + 3) * 5;
    let enough = (0..1000).any(|_| {
        thread::sleep(Duration::from_millis(10));
        source.loads.load(Ordering::SeqCst) >= ahead
    });
    thread::sleep(Duration::from_millis(20));
    assert_eq!((enough, source.loads.load(Ordering::SeqCst)), (true, ahead));
}

#[test]
fn dropping_a_loader_stops_its_threads_and_leaves_queued_work() {
    let source = greys(100_000, &[]);
    let loader = Loader::new(source.clone(), LoaderOptions { prefetch: 1000, ..options(50) }, 0).unwrap();
    drop(loader);
    assert_eq!(Arc::strong_count(&source), 1);
    assert!(source.loads.load(Ordering::SeqCst) < 10_000);
}

#[test]
fn pictures_are_given_the_channels_asked_for() {
    let colour = &batches(greys(3, &[]), LoaderOptions { channels: 3, ..options(2) }, 0..1)[0];
    let grey = &batches(greys(3, &[]), options(2), 0..1)[0];
    assert_eq!((colour.images.len(), &colour.images[32..48]), (96, &grey.images[..16]));
}

#[test]
fn views_are_those_of_the_augmentation_asked_for() {
    let chain = Augmentation::finetuning();
    let tuned =
        LoaderOptions { augmentation: chain.clone(), normalise: Normalisation::IMAGENET, channels: 3, ..options(8) };
    let made = batches(greys(50, &[]), tuned.clone(), 0..8);
    assert_eq!(batches(greys(50, &[]), LoaderOptions { threads: 4, prefetch: 0, ..tuned }, 0..8), made);
    let views = Views::new(&chain, Normalisation::IMAGENET, 3, 4, 4).unwrap();
    for batch in made {
        for (image, (epoch, sample)) in batch.images.chunks_exact(48).zip(batch.samples) {
            let picture = Picture { height: 5, width: 7, channels: 1, pixels: ramp(sample) }.with_channels(3);
            let mut rng = Rng::new(9, Stream::Augment, epoch, sample as u64);
            assert_eq!(image, views.make(&picture, &mut rng));
        }
    }
}

#[test]
fn impossible_options_are_named() {
    let refused = |options, len| Loader::new(greys(len, &[]), options, 0).err().unwrap().to_string();
    assert!(refused(options(0), 3).contains("batch of 0"));
    assert!(refused(LoaderOptions { channels: 5, ..options(1) }, 3).contains("channels must be 1 to 4"));
    assert!(refused(LoaderOptions { max_bad_fraction: 1.5, ..options(1) }, 3).contains("0 to 1, not 1.5"));
    assert!(refused(options(1), 0).contains("images, not 0"));
    let erase = Augmentation { erase: 2.0, ..Augmentation::finetuning() };
    assert!(refused(LoaderOptions { augmentation: erase, ..options(1) }, 3).contains("erase"));
}
