//! Files from outside that are damaged or made to do harm: an error in words, never a panic, little memory and time.
//!
//! Each case is a sound file with a few random changes, decided by its number alone. `BOOTMAE_FUZZ=100000` sets how many
//! there are.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env, fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bootmae::{
    error::Error,
    rng::{Rng, Stream},
    train::{
        checkpoint::{self, Checkpoints},
        config::resolve,
        tensors::{self, TensorFile, fixture_config},
    },
};

/// The system's allocator, with the most that was held since [`Counting::start`].
struct Counting {
    held: AtomicUsize,
    most: AtomicUsize,
}

impl Counting {
    fn start(&self) -> usize {
        self.most.store(self.held.load(Relaxed), Relaxed);
        self.held.load(Relaxed)
    }
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = self.held.fetch_add(layout.size(), Relaxed) + layout.size();
        self.most.fetch_max(held, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        self.held.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static MEMORY: Counting = Counting { held: AtomicUsize::new(0), most: AtomicUsize::new(0) };

/// What reading may hold beside the file: so many times its length, and so much for everything else.
const TIMES: usize = 24;
const BESIDE: usize = 2 << 20;
/// No case takes longer, on a busy machine either.
const LONGEST: Duration = Duration::from_secs(10);

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
                let lengths = [0, 1, 7, u64::MAX, 1 << 63, 1 << 40, (8 << 20) + 1, bytes.len() as u64 - 8];
                bytes[..8].copy_from_slice(&lengths[below(8)].to_le_bytes());
            }
            _ => {}
        }
    }
}

/// Runs `read` on `bytes`, holding it to its memory and time; whether it was accepted.
fn held_to(what: &str, length: usize, read: impl FnOnce() -> Result<(), String>) -> bool {
    let (began, before) = (Instant::now(), MEMORY.start());
    let result = read();
    let most = MEMORY.most.load(Relaxed) - before;
    assert!(most <= TIMES * length + BESIDE, "{what}: {most} bytes of memory for a file of {length}");
    assert!(began.elapsed() < LONGEST, "{what}: {:?}", began.elapsed());
    if let Err(reason) = &result {
        assert!(!reason.is_empty() && reason.len() < 4000, "{what}: {reason:.200}");
    }
    result.is_ok()
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

/// Puts the right lengths and hashes of the other files into a checkpoint's manifest.
fn rehash(folder: &Path) {
    let path = folder.join("MANIFEST.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (name, entry) in manifest["files"].as_object_mut().unwrap() {
        let bytes = fs::read(folder.join(name)).unwrap();
        *entry = serde_json::json!({ "bytes": bytes.len(), "blake3": blake3::hash(&bytes).to_hex().to_string() });
    }
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// One test, since the memory is counted for the whole process.
#[test]
fn damaged_files_are_refused_in_words_with_little_memory_and_time() {
    let count: usize = env::var("BOOTMAE_FUZZ").map_or(1200, |n| n.parse().expect("BOOTMAE_FUZZ is a number"));
    let fixture =
        |name: &str| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap();
    let (old, step) = (fixture("checkpoint_1/checkpoint.safetensors"), fixture("step_taps.safetensors"));
    let header = |bytes: &[u8]| 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;

    let folder = tempfile::tempdir().unwrap();
    let single = folder.path().join("checkpoint.safetensors");
    fs::write(&single, &old).unwrap();
    let checkpoints = Checkpoints::of(folder.path());
    checkpoints.prepare().unwrap();
    let place = checkpoints.save(&checkpoint::read_any(&single).unwrap(), 1).unwrap();
    let names = ["model.safetensors", "teacher.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"];
    let whole = names.map(|name| (name, fs::read(place.join(name)).unwrap()));
    let toml = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/imagenet-base.toml")).unwrap();
    let settings = folder.path().join("run.toml");
    let outer = |error: Error| error.to_string();

    let mut accepted = 0;
    for case in 0..count {
        let mut rng = Rng::new(16, Stream::Augment, 0, case as u64);
        let what = format!("case {case}");
        accepted += usize::from(match case % 8 {
            // A fixture, as the browser gets one.
            0 => {
                let mut bytes = step.clone();
                damage(&mut bytes, header(&step), &mut rng);
                held_to(&what, bytes.len(), || {
                    let file = tensors::parse(&bytes)?;
                    assert!(sound(&file), "{what}");
                    fixture_config(&file.metadata).map(drop)
                })
            }
            // The length that the system tells is not the file's.
            1 => {
                let mut bytes = old.clone();
                damage(&mut bytes, header(&old), &mut rng);
                let told = [bytes.len() as u64 / 2, u64::MAX, 1 << 40][case / 8 % 3];
                held_to(&what, bytes.len(), || tensors::read(&bytes[..], told).map(drop))
            }
            2 => {
                let mut bytes = old.clone();
                damage(&mut bytes, header(&old), &mut rng);
                fs::write(&single, &bytes).unwrap();
                held_to(&what, bytes.len(), || checkpoint::read_any(&single).map(drop).map_err(outer))
            }
            3 => {
                let mut bytes = toml.clone();
                damage(&mut bytes, toml.len(), &mut rng);
                fs::write(&settings, &bytes).unwrap();
                held_to(&what, bytes.len(), || {
                    resolve(None, Some(&settings), toml::Table::new()).map(drop).map_err(outer)
                })
            }
            // A file of a checkpoint; with odd cases the manifest agrees with the damage.
            kind => {
                let (name, bytes) = &whole[[3, 4, 3, case / 8 % 5][kind - 4]];
                let mut bytes = bytes.clone();
                let head = if name.ends_with("json") { bytes.len() } else { header(&bytes) };
                damage(&mut bytes, head, &mut rng);
                fs::write(place.join(name), &bytes).unwrap();
                if kind != 4 && *name != "MANIFEST.json" {
                    rehash(&place);
                }
                let total: usize = whole.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() + bytes.len();
                let ok = held_to(&what, total, || checkpoint::read(&place).map(drop).map_err(outer));
                held_to(&what, total, || checkpoint::read_model(&place).map(drop).map_err(outer));
                held_to(&what, total, || {
                    checkpoint::read_model(&place.join("model.safetensors")).map(drop).map_err(outer)
                });
                let changed = whole.iter().filter(|(other, _)| other == name || *other == "MANIFEST.json");
                changed.for_each(|(name, bytes)| fs::write(place.join(name), bytes).unwrap());
                ok
            }
        });
    }
    eprintln!("{count} damaged files, {accepted} of them still sound");
    assert!(accepted < count / 3, "{accepted} of {count} were accepted: the damage is too slight");
}
