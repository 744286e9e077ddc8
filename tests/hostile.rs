//! Damaged and hostile files through every reader: each input gives images or reasons, never a panic, never an
//! allocation beyond `data::MAX_BYTES`, and none takes longer than a second.
//!
//! Inputs are the fixtures cut to every length, and changed at random: a function of their number alone.
//! `BOOTMAE_HOSTILE_INPUTS` sets how many random ones each reader gets (100,000 if not given); with `--nocapture` the
//! tests say what they found. An input that fails is written to `target/hostile/`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs};

use bootmae::data::{self, MAX_BYTES};
use bootmae::rng::{Rng, Stream};

/// The system's allocator, which remembers each thread's largest request: readers are tried side by side.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    /// Where decoders panicked. `data` turns these panics into reasons; here they are only named.
    static CAUGHT: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

fn remember(size: usize) {
    LARGEST.set(LARGEST.get().max(size));
}

// SAFETY: every request is passed on as it is.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        remember(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        remember(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        remember(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

const LONGEST: Duration = Duration::from_secs(1);

/// What an input gave.
#[derive(Default)]
struct Given {
    images: usize,
    reasons: usize,
}

/// A reader under test.
struct Target<'t> {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    read: &'t dyn Fn(&[u8]) -> Given,
}

impl Target<'_> {
    /// Cuts each seed to all lengths (long ones to some), then changes seeds at random.
    fn run(&self) {
        remember_panics();
        let wanted = env::var("BOOTMAE_HOSTILE_INPUTS").map_or(100_000, |n| n.parse().expect("a number"));
        let (mut total, mut inputs, mut slowest) = (Given::default(), 0, Duration::ZERO);
        LARGEST.set(0);
        let mut feed = |input: &[u8]| {
            let (given, took) = self.feed(input);
            total.images += given.images;
            total.reasons += given.reasons;
            inputs += 1;
            slowest = slowest.max(took);
        };
        for seed in &self.seeds {
            feed(seed);
            let step = (seed.len() / 2000).max(1);
            (0..seed.len()).step_by(step).for_each(|length| feed(&seed[..length]));
        }
        for number in 0..wanted {
            feed(&self.changed(number));
        }
        let caught = CAUGHT.take();
        eprintln!(
            "{}: {inputs} inputs gave {} images and {} reasons; largest allocation {:.1} MiB, slowest {:.0} ms; panics \
             caught at {caught:?}",
            self.name,
            total.images,
            total.reasons,
            LARGEST.get() as f64 / f64::from(1 << 20),
            slowest.as_secs_f64() * 1e3
        );
        assert!(total.images > 0 && total.reasons > inputs / 10, "the inputs test little");
    }

    /// Reads one input, and says how long it took.
    fn feed(&self, input: &[u8]) -> (Given, Duration) {
        let attempt = || {
            let began = Instant::now();
            let given = catch_unwind(AssertUnwindSafe(|| (self.read)(input)));
            (given, began.elapsed())
        };
        let (given, mut took) = attempt();
        if took > LONGEST {
            // The machine may have been busy.
            took = took.min(attempt().1);
        }
        let largest = LARGEST.get();
        match given {
            Ok(given) if took <= LONGEST && largest as u64 <= MAX_BYTES => (given, took),
            given => {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/hostile");
                fs::create_dir_all(&folder).unwrap();
                let file = folder.join(self.name);
                fs::write(&file, input).unwrap();
                let panicked = given.is_err();
                panic!("{}: panicked {panicked}, {took:?}, {largest} bytes at once", file.display());
            }
        }
    }

    /// Input `number`: a seed with a few changes.
    fn changed(&self, number: u64) -> Vec<u8> {
        let mut rng = Rng::new(1, Stream::Shuffle, 0, number);
        let mut bytes = self.seeds[rng.below(self.seeds.len())].clone();
        for _ in 0..1 + rng.below(6) {
            if bytes.is_empty() {
                break;
            }
            // Heads and tails, where the lengths are, more often than the middle.
            let near = bytes.len().min(64);
            let at = match rng.below(4) {
                0 => rng.below(near),
                1 => bytes.len() - 1 - rng.below(near),
                _ => rng.below(bytes.len()),
            };
            match rng.below(9) {
                0 | 1 => bytes[at] ^= 1 << rng.below(8),
                2 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFE, 0xFF][rng.below(6)],
                3 | 4 => {
                    let value = [0, 1, 0x7FFF_FFFF, 0x8000_0000, u32::MAX, 1 << rng.below(32)][rng.below(6)];
                    let value = if rng.below(2) == 0 { value.to_le_bytes() } else { value.to_be_bytes() };
                    let length = [2, 4][rng.below(2)].min(bytes.len() - at);
                    bytes[at..at + length].copy_from_slice(&value[..length]);
                }
                5 => bytes.truncate(at),
                6 => drop(bytes.drain(at..(at + 1 + rng.below(32)).min(bytes.len()))),
                7 => {
                    let piece = bytes[at..(at + 1 + rng.below(64)).min(bytes.len())].to_vec();
                    let to = rng.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => {
                    let other = &self.seeds[rng.below(self.seeds.len())];
                    let from = rng.below(other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
            }
        }
        bytes
    }
}

/// Keeps panics off standard error and remembers where they were.
fn remember_panics() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
            if place.starts_with("tests/") {
                return shown(panic);
            }
            let file = place.rsplit("/src/").take(1).chain(place.rsplit('/').skip(2).take(1)).collect::<Vec<_>>();
            CAUGHT.with_borrow_mut(|caught| caught.insert(file.join(" of ")));
        }));
    });
}

fn fixtures(folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| wanted(path.file_name().unwrap().to_str().unwrap()));
    assert!(!paths.is_empty());
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Opens a collection, decodes some of its images and reads their labels.
fn collection(spec: &str) -> Given {
    let mut given = Given::default();
    match data::open(spec) {
        Ok(source) => {
            let len = source.len();
            for index in (0..len.min(24)).map(|i| i * len / len.min(24)) {
                assert!(!source.name(index).is_empty());
                let _ = source.folder(index);
                match source.load(index, 3) {
                    Ok(picture) => {
                        picture.check().unwrap();
                        given.images += 1;
                    }
                    Err(reason) => given.reasons += usize::from(!reason.is_empty()),
                }
            }
            let told = labels(&*source);
            given.images += told.images;
            given.reasons += told.reasons;
            if let Some(near) = source.locality() {
                assert_eq!(near.runs.iter().sum::<usize>(), len);
            }
        }
        Err(error) => {
            assert_eq!(error.exit_code(), 3, "{error}");
            given.reasons += 1;
        }
    }
    given
}

/// Reads the labels of a collection: a class for each image, or a reason.
fn labels(source: &dyn data::Source) -> Given {
    match source.labels(None) {
        Ok(labels) => {
            assert_eq!(labels.len(), source.len());
            let classes = labels.classes().len();
            let told = (0..labels.len()).filter_map(|image| labels.of(image));
            Given { images: told.inspect(|&class| assert!((class as usize) < classes)).count(), reasons: 0 }
        }
        Err(error) => {
            assert_eq!(error.exit_code(), 3, "{error}");
            Given { images: 0, reasons: 1 }
        }
    }
}

/// A collection in one file of a folder of its own.
fn in_file(name: &'static str, spec: impl Fn(&Path) -> String, file: &str, seeds: Vec<Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    let spec = spec(folder.path());
    // A file that is emptied and written again is flushed at once by some file systems; this one is overwritten.
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&[0; 1 << 16]).unwrap();
    let file = Mutex::new(file);
    let read = |input: &[u8]| {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.rewind().unwrap();
        file.write_all(input).unwrap();
        file.set_len(input.len() as u64).unwrap();
        drop(file);
        collection(&spec)
    };
    Target { name, seeds, read: &read }.run();
}

fn file_named(file: &'static str) -> impl Fn(&Path) -> String {
    move |folder| folder.join(file).to_str().unwrap().to_owned()
}

#[test]
fn images() {
    let read = |input: &[u8]| match data::decode_bytes(input) {
        Ok(decoded) => {
            decoded.picture.check().unwrap();
            Given { images: 1, reasons: 0 }
        }
        Err(reason) => Given { images: 0, reasons: usize::from(!reason.is_empty()) },
    };
    let seeds = fixtures("pil/kinds", |name| !name.ends_with(".rgb.png"));
    Target { name: "images", seeds, read: &read }.run();
}

/// Small files that claim to be large: too long a side, too many pixels, too many for their bytes.
#[test]
fn bombs_are_refused_before_pixels_are_allocated() {
    let file = |name: &str| fixtures("pil/kinds", |found| found == name).remove(0);
    let find = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).position(|part| part == wanted).unwrap();
    let (jpeg, tiff) = (file("rgb.jpg"), file("rgb.tiff"));
    let frame = find(&jpeg, &[0xFF, 0xC0]);
    let (cols, rows) = (find(&tiff, &[0, 1, 4, 0, 1, 0, 0, 0]), find(&tiff, &[1, 1, 4, 0, 1, 0, 0, 0]));
    for side in [60_000u32, 20_000, 16_000, 8_000] {
        let mut bombs =
            vec![("JPEG", jpeg.clone()), ("GIF", file("grey.gif")), ("BMP", file("rgb.bmp")), ("TIFF", tiff.clone())];
        bombs[0].1[frame + 5..frame + 7].copy_from_slice(&(side as u16).to_be_bytes());
        bombs[0].1[frame + 7..frame + 9].copy_from_slice(&(side as u16).to_be_bytes());
        bombs[1].1[6..8].copy_from_slice(&(side as u16).to_le_bytes());
        bombs[1].1[8..10].copy_from_slice(&(side as u16).to_le_bytes());
        for at in [18, 22] {
            bombs[2].1[at..at + 4].copy_from_slice(&side.to_le_bytes());
        }
        for at in [cols + 8, rows + 8] {
            bombs[3].1[at..at + 4].copy_from_slice(&side.to_le_bytes());
        }
        for (format, bytes) in bombs {
            LARGEST.set(0);
            let reason = data::decode_bytes(&bytes).expect_err(format);
            let largest = LARGEST.get();
            assert!(largest < 1 << 20, "{format} {side}: {largest} bytes at once, then: {reason}");
            assert!(["limit", "size"].iter().any(|word| reason.contains(word)), "{format} {side}: {reason}");
        }
    }
}

#[test]
fn tar() {
    let seeds = ["collections", "labels"].map(|folder| fixtures(folder, |name| name.ends_with(".tar")));
    in_file("tar", file_named("a.tar"), "a.tar", seeds.concat());
}

#[test]
fn parquet() {
    let small = |name: &str| name.ends_with(".parquet") && name != "columns.parquet";
    let seeds = ["collections", "labels"].map(|folder| fixtures(folder, small));
    in_file("parquet", file_named("a.parquet"), "a.parquet", seeds.concat());
}

#[test]
fn idx() {
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 5];
    bytes.extend(0..=255);
    bytes.truncate(16 + 9 * 7 * 5);
    bytes.resize(16 + 9 * 7 * 5, 3);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&bytes).unwrap();
    in_file("idx", file_named("a-ubyte"), "a-ubyte", vec![bytes, packed.finish().unwrap()]);
}

#[test]
fn npy() {
    let npy = |shape: &str| {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend([9; 4 * 5 * 6 * 3]);
        bytes
    };
    in_file("npy", file_named("a.npy"), "a.npy", vec![npy("(4, 5, 6, 3)"), npy("(12, 5, 6)")]);
}

#[test]
fn cifar() {
    let bytes: Vec<u8> = (0..3 * 3074usize).map(|at| if at % 3074 < 2 { 7 } else { at as u8 }).collect();
    in_file("cifar", |folder| format!("cifar100:{}", folder.display()), "train.bin", vec![bytes]);
}

/// Files of labels beside images that are whole: each input goes to the reader of the file that it looks like.
#[test]
fn labels_beside_images() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let npy = |kind: &str, shape: &str, values: &[u8]| {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), values].concat()
    };
    fs::write(at("x.npy"), npy("|u1", "(20, 5, 5)", &[3; 500])).unwrap();
    let idx = [&[0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0, 2][..], &[5; 80]].concat();
    fs::write(at("a-images-idx3-ubyte"), idx).unwrap();
    for batch in 1..=5 {
        image::RgbImage::new(1024, 4).save(at(&format!("data_batch_{batch}.png"))).unwrap();
    }
    let collections = fixtures("labels", |name| name.ends_with(".tar")).remove(0);
    fs::create_dir(at("shards")).unwrap();
    fs::write(at("shards/a.tar"), collections).unwrap();
    let open = |spec: String| data::open(&spec).unwrap();
    let file = |name: &str| open(at(name).display().to_string());
    let readers = [
        (file("x.npy"), "labels.npy"),
        (file("a-images-idx3-ubyte"), "a-labels-idx1-ubyte"),
        (open(format!("cifar10:{}", folder.path().display())), "train_lables.json"),
        (file("shards/a.tar"), "shards/_info.json"),
        (file("shards/a.tar"), "shards/classes.txt"),
    ];
    let files = readers.each_ref().map(|(_, name)| at(name));
    let lock = Mutex::new(());
    let read = |input: &[u8]| {
        let _one = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = match input {
            [0x93 | b'N', ..] => 0,
            [0 | 8 | 0x1F, ..] => 1,
            [b'[' | b',' | b'0'..=b'9', ..] => 2,
            [b'{' | b'"', ..] => 3,
            _ => 4,
        };
        fs::write(&files[reader], input).unwrap();
        let given = labels(&*readers[reader].0);
        // Of names the first of two files counts.
        if reader > 2 {
            fs::remove_file(&files[reader]).unwrap();
        }
        given
    };
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let bytes = [&[0, 0, 8, 1, 0, 0, 0, 20][..], &[7; 20]].concat();
    packed.write_all(&bytes).unwrap();
    let list = format!("{:?}", (0..20).map(|n| n % 10).collect::<Vec<_>>());
    let seeds = vec![
        npy("<i8", "(20,)", &[0; 160]),
        npy(">u2", "(20,)", &[0; 40]),
        bytes,
        packed.finish().unwrap(),
        list.into_bytes(),
        br#"{"classes": ["ant", "bee", "cat"]}"#.to_vec(),
        br#"{"features": {"label": {"names": ["ant", "bee", "cat"]}}}"#.to_vec(),
        b"ant\nbee\ncat\n".to_vec(),
    ];
    Target { name: "labels_beside_images", seeds, read: &read }.run();
}
