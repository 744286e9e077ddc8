//! Files from outside that are damaged or made to do harm: an error in words, never a panic, little memory and time.
//!
//! Each case is a sound file with a few random changes, decided by reader and number alone. `BOOTMAE_FUZZ` sets how many
//! there are for each reader (if not given 100,000, or 20,000 for each way into files of `torch.save`); with
//! `--nocapture` the tests say what came of them. Most sound files are cut down to few small tensors, which is quick and
//! where the readers look closest; every 64th is whole.

mod torch;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    env, fs,
    io::{Seek, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bootmae::{
    check::fixture::fixture_config,
    checkpoint::{self, Bundle, Checkpoints, Model},
    error::{Error, Result},
    formats::tensors::{self, Precision, TensorFile, Written},
    infer::features::Features,
    rng::{Rng, Stream},
    train::config::resolve,
};

/// The system's allocator, with what each thread holds and the most since [`start`]: readers are tried side by side.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn start() -> isize {
    MOST.set(HELD.get());
    HELD.get()
}

// SAFETY: every request is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + layout.size() as isize);
        MOST.set(MOST.get().max(HELD.get()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static MEMORY: Counting = Counting;

/// What reading may hold beside the file: so many times its length, and so much for everything else.
const TIMES: usize = 24;
const BESIDE: usize = 2 << 20;
/// What reading may hold in any case.
const MOST_MEMORY: usize = 256 << 20;
/// No case takes longer.
const LONGEST: Duration = Duration::from_secs(1);
/// Of so many cases one has a whole file as its seed.
const WHOLE_EVERY: usize = 64;

/// Numbers and texts that parsers stumble over.
const NASTY: [&str; 16] = [
    "0",
    "-1",
    "18446744073709551615",
    "9223372036854775808",
    "4611686018427387904",
    "1e999",
    "NaN",
    "null",
    "\"\"",
    "\"\\ud800\"",
    "\u{0}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":{\"a\":",
    "\"../../../../etc/passwd\"",
    "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
    "99999999999999999999999999999999999999999999",
];

/// One to four changes, most of them among the first `head` bytes.
fn damage(bytes: &mut Vec<u8>, head: usize, rng: &mut Rng) {
    let mut below = |n: usize| rng.below(n.max(1));
    for _ in 0..1 + below(4) {
        let reach = if below(8) == 0 { bytes.len() } else { head.min(bytes.len()) };
        let at = below(reach);
        match below(8) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            1 if !bytes.is_empty() => bytes[at] = [0, 0xff, b'"', b'{', b'}', b',', b'9', b'-'][below(8)],
            2 => bytes.truncate(at),
            3 => {
                let text = NASTY[below(NASTY.len())].bytes();
                bytes.splice(at..at, text);
            }
            4 => {
                // A number gives way to a nasty value.
                let digit = |b: &u8| b.is_ascii_digit();
                let from = bytes[at.min(bytes.len())..].iter().position(digit).map_or(bytes.len(), |i| at + i);
                let to = bytes[from..].iter().position(|b| !digit(b)).map_or(bytes.len(), |i| from + i);
                bytes.splice(from..to, NASTY[below(NASTY.len())].bytes());
            }
            5 => {
                let to = (at + 1 + below(40)).min(bytes.len());
                let copy = bytes[at.min(to)..to].to_vec();
                let into = below(reach);
                bytes.splice(into..into, copy);
            }
            6 => {
                let to = (at + 1 + below(40)).min(bytes.len());
                bytes.drain(at.min(to)..to);
            }
            _ if bytes.len() >= 8 => {
                let lengths = [0, 1, 7, u64::MAX, 1 << 63, 1 << 40, (100 << 20) + 1, bytes.len() as u64 - 8];
                bytes[..8].copy_from_slice(&lengths[below(8)].to_le_bytes());
            }
            _ => {}
        }
    }
}

/// What the cases of one reader came to.
#[derive(Default)]
struct Held {
    what: String,
    most: usize,
    slowest: Duration,
}

impl Held {
    /// Runs `read` on a file of `length` bytes, holding it to its memory and time; whether it was accepted.
    fn to(&mut self, length: usize, read: impl Fn() -> Result<(), String>) -> bool {
        let timed = || {
            let began = Instant::now();
            (read(), began.elapsed())
        };
        let before = start();
        let (result, mut took) = timed();
        let most = (MOST.get() - before) as usize;
        if took > LONGEST {
            // The machine may have been busy.
            took = took.min(timed().1);
        }
        let what = &self.what;
        assert!(most <= TIMES * length + BESIDE, "{what}: {most} bytes of memory for a file of {length}");
        assert!(most <= MOST_MEMORY, "{what}: {most} bytes of memory");
        assert!(took <= LONGEST, "{what}: {took:?}");
        if let Err(reason) = &result {
            assert!(!reason.is_empty() && reason.len() < 4000, "{what}: {reason:.200}");
        }
        (self.most, self.slowest) = (self.most.max(most), self.slowest.max(took));
        result.is_ok()
    }
}

/// Gives every case of a reader to `read`, which damages a file and says whether it was accepted still.
fn cases(reader: &str, read: impl FnMut(usize, &mut Rng, &mut Held) -> bool) {
    so_many_cases(100_000, reader, read);
}

/// [`cases`], of which there are `count` if nothing else is asked for.
fn so_many_cases(count: usize, reader: &str, mut read: impl FnMut(usize, &mut Rng, &mut Held) -> bool) {
    let count: usize = env::var("BOOTMAE_FUZZ").map_or(count, |n| n.parse().expect("BOOTMAE_FUZZ is a number"));
    let stream = reader.bytes().fold(0, |sum, byte| sum * 256 % 65_521 + u64::from(byte));
    let mut held = Held::default();
    let mut accepted = 0;
    for case in 0..count {
        held.what = format!("{reader}, case {case}");
        let mut rng = Rng::new(16, Stream::Augment, stream, case as u64);
        accepted += usize::from(read(case, &mut rng, &mut held));
    }
    let (most, slowest) = (held.most as f64 / f64::from(1 << 20), held.slowest.as_secs_f64() * 1e3);
    eprintln!(
        "{reader}: {count} damaged files, {accepted} of them still sound; at most {most:.1} MiB, {slowest:.0} ms"
    );
    assert!(accepted > 0 && accepted < count / 3, "{accepted} of {count} were accepted: the damage is wrong");
}

/// A file that is overwritten where it lies: one that is emptied and written again is flushed at once by some file
/// systems.
struct InPlace(fs::File);

impl InPlace {
    fn at(path: &Path) -> InPlace {
        InPlace(fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.rewind().unwrap();
        self.0.write_all(bytes).unwrap();
        self.0.set_len(bytes.len() as u64).unwrap();
    }
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// Where the values of a safetensors file begin.
fn header(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

/// Every `nth` tensor of a safetensors file, with at most four values of each.
fn cut(bytes: &[u8], nth: usize) -> Vec<u8> {
    let values = header(bytes);
    let whole: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes[8..values]).unwrap();
    let (mut kept, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, entry) in whole.iter().filter(|(name, _)| *name != "__metadata__").step_by(nth) {
        let at = |end: usize| entry["data_offsets"][end].as_u64().unwrap() as usize;
        let size = if entry["dtype"] == "F32" { 4 } else { 8 };
        let count = ((at(1) - at(0)) / size).min(4);
        let (from, to) = (data.len(), data.len() + count * size);
        data.extend(&bytes[values + at(0)..][..count * size]);
        let entry = serde_json::json!({ "dtype": entry["dtype"], "shape": [count], "data_offsets": [from, to] });
        kept.insert(name.clone(), entry);
    }
    kept.insert("__metadata__".into(), whole["__metadata__"].clone());
    let text = serde_json::to_vec(&kept).unwrap();
    let cut = [&(text.len() as u64).to_le_bytes()[..], &text, &data].concat();
    assert!(tensors::parse(&cut).is_ok_and(|file| file.tensors.len() > 2));
    cut
}

/// A sound file, cut down except for every 64th case.
struct Seed {
    cut: Vec<u8>,
    whole: Vec<u8>,
}

impl Seed {
    fn new(name: &str, nth: usize) -> Seed {
        let whole = fixture(name);
        Seed { cut: cut(&whole, nth), whole }
    }

    fn fixture() -> Seed {
        Seed::new("step_taps.safetensors", 97)
    }

    fn old_checkpoint() -> Seed {
        Seed::new("checkpoint_1/checkpoint.safetensors", 31)
    }

    fn damaged(&self, case: usize, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = if case.is_multiple_of(WHOLE_EVERY) { self.whole.clone() } else { self.cut.clone() };
        let head = header(&bytes);
        damage(&mut bytes, head, rng);
        bytes
    }
}

fn sound(file: &TensorFile) -> bool {
    file.tensors.values().all(|tensor| {
        let held = match &tensor.values {
            tensors::Values::F32(values) => values.len(),
            tensors::Values::F64(values) => values.len(),
            tensors::Values::I64(values) => values.len(),
        };
        tensor.shape.iter().product::<usize>() == held
    })
}

fn words<T>(result: Result<T>) -> Result<(), String> {
    result.map(drop).map_err(|error: Error| error.to_string())
}

#[test]
fn safetensors() {
    let (step, old) = (Seed::fixture(), Seed::old_checkpoint());
    cases("safetensors", |case, rng, held| {
        let bytes = [&step, &old][case % 2].damaged(case / 2, rng);
        // The length that the system tells is not always the file's.
        let length = bytes.len() as u64;
        let told = [length, length, length, length / 2, length + 8, u64::MAX, 1 << 40][case / 2 % 7];
        held.to(bytes.len(), || {
            let file = tensors::read(&bytes[..], told)?;
            assert!(sound(&file), "case {case}");
            Ok(())
        })
    });
}

#[test]
fn feature_files() {
    let names = r#"["a","bb"]"#.to_owned();
    let metadata = [("classes", names), ("pool", "mean".into()), ("blocks", "12".into())].into();
    let (mut seed, values) = (Vec::new(), [0.5; 12]);
    let features = Written { name: "features".into(), shape: &[3, 4], values: &values };
    tensors::write_with_integers(&mut seed, &metadata, &[("labels", &[0, 1, -1])], &[features]).unwrap();
    cases("feature file", |_, rng, held| {
        let mut bytes = seed.clone();
        let head = header(&bytes);
        damage(&mut bytes, head, rng);
        held.to(bytes.len(), || {
            let features = Features::parse(&bytes)?;
            assert_eq!(features.values.len(), features.len() * features.width);
            Ok(())
        })
    });
}

/// As the browser gets them.
#[test]
fn fixtures() {
    let seed = Seed::fixture();
    cases("fixture", |case, rng, held| {
        let bytes = seed.damaged(case, rng);
        held.to(bytes.len(), || fixture_config(&tensors::parse(&bytes)?.metadata).map(drop))
    });
}

#[test]
fn settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    let mut file = InPlace::at(&path);
    let shipped = ["cifar10-tiny", "demo", "imagenet-base", "imagenet-large", "small-data"]
        .map(|name| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("presets/{name}.toml"))).unwrap());
    // What a run writes down, with every key.
    file.put(&shipped[3]);
    let resolved = resolve(None, Some(&path), toml::Table::new()).unwrap().to_toml().unwrap().into_bytes();
    let seeds = [&shipped[..], &[resolved]].concat();
    cases("settings", |case, rng, held| {
        let mut bytes = seeds[case % seeds.len()].clone();
        let head = bytes.len();
        damage(&mut bytes, head, rng);
        file.put(&bytes);
        held.to(bytes.len(), || words(resolve(None, Some(&path), toml::Table::new())))
    });
}

#[test]
fn old_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let mut file = InPlace::at(&path);
    let seed = Seed::old_checkpoint();
    cases("old checkpoint", |case, rng, held| {
        let bytes = seed.damaged(case, rng);
        file.put(&bytes);
        held.to(bytes.len(), || words(checkpoint::read_any(&path)))
    });
}

/// Weights as a page is given them: half precision, or a checkpoint's archive.
#[test]
fn weights_in_memory() {
    let old = fixture("checkpoint_1/checkpoint.safetensors");
    let seeds = [cut(&old, 31), old].map(|old| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        fs::write(&path, old).unwrap();
        let snapshot = checkpoint::read_any(&path).unwrap();
        let archive = Bundle::of(&snapshot).unwrap().pack().unwrap();
        let mut halves = Vec::new();
        checkpoint::weights(&Model::of(snapshot), Precision::F16, &mut halves).unwrap();
        [halves, archive]
    });
    cases("weights in memory", |case, rng, held| {
        let archived = case % 2 == 1;
        let seed = &seeds[usize::from(case / 2 % WHOLE_EVERY == 0)][usize::from(archived)];
        let mut bytes = seed.clone();
        // Of an archive every file has its head, in front of the file.
        let head = if archived { bytes.len() } else { header(&bytes) };
        damage(&mut bytes, head, rng);
        held.to(bytes.len(), || words(Model::parse("weights", &bytes)))
    });
}

/// A sound checkpoint on the disk, in which files are damaged and mended.
struct Folder {
    place: PathBuf,
    files: Vec<(&'static str, Vec<u8>, InPlace)>,
    total: usize,
    _root: tempfile::TempDir,
}

const FILES: [&str; 5] =
    ["model.safetensors", "teacher.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"];
const MANIFEST: usize = 4;

impl Folder {
    fn new(old: &[u8]) -> Folder {
        let root = tempfile::tempdir().unwrap();
        let single = root.path().join("checkpoint.safetensors");
        fs::write(&single, old).unwrap();
        let checkpoints = Checkpoints::of(root.path());
        checkpoints.prepare().unwrap();
        let place = checkpoints.save(&checkpoint::read_any(&single).unwrap(), 1).unwrap();
        let files = FILES.map(|name| {
            let path = place.join(name);
            (name, fs::read(&path).unwrap(), InPlace::at(&path))
        });
        let total = files.iter().map(|(_, bytes, _)| bytes.len()).sum();
        Folder { place, files: files.into(), total, _root: root }
    }

    /// Damages one of [`FILES`], reads the folder, and mends it. With `listed` the manifest agrees with the damage.
    fn try_damaged(&mut self, number: usize, listed: bool, rng: &mut Rng, held: &mut Held) -> bool {
        let (name, bytes, file) = &mut self.files[number];
        let mut bytes = bytes.clone();
        let head = if name.ends_with("json") { bytes.len() } else { header(&bytes) };
        damage(&mut bytes, head, rng);
        file.put(&bytes);
        if listed {
            let mut manifest: serde_json::Value = serde_json::from_slice(&self.files[MANIFEST].1).unwrap();
            let hash = blake3::hash(&bytes).to_hex().to_string();
            manifest["files"][FILES[number]] = serde_json::json!({ "bytes": bytes.len(), "blake3": hash });
            self.files[MANIFEST].2.put(&serde_json::to_vec(&manifest).unwrap());
        }
        let (place, total) = (&self.place, self.total + bytes.len());
        let ok = held.to(total, || words(checkpoint::read(place)));
        held.to(total, || words(checkpoint::read_model(place)));
        if number == 0 {
            held.to(total, || words(checkpoint::read_model(&place.join(FILES[0]))));
        }
        for at in [number, MANIFEST] {
            let (_, bytes, file) = &mut self.files[at];
            file.put(bytes);
        }
        ok
    }
}

/// Tries cases on a checkpoint, cut down except for every 64th case. `choose` says which file of a case is damaged, and
/// whether the manifest agrees.
fn folders(reader: &str, choose: impl Fn(usize) -> (usize, bool)) {
    let seed = Seed::old_checkpoint();
    let mut small = Folder::new(&seed.cut);
    let mut whole = Folder::new(&seed.whole);
    cases(reader, |case, rng, held| {
        let (number, listed) = choose(case);
        let folder = if case.is_multiple_of(WHOLE_EVERY) { &mut whole } else { &mut small };
        folder.try_damaged(number, listed, rng, held)
    });
    for folder in [&small, &whole] {
        checkpoint::read(&folder.place).expect("mended");
    }
}

#[test]
fn states() {
    folders("state.json", |case| (3, case % 8 != 0));
}

#[test]
fn manifests() {
    folders("manifest", |_| (MANIFEST, false));
}

#[test]
fn files_of_checkpoints() {
    folders("files of checkpoints", |case| (case % 3, case % 8 != 0));
}
