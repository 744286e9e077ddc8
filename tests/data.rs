//! Collections of images as the command line and the loader meet them: refusals, broken files, `data check`, `pack` and
//! `bench`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use bootmae::data::{self, Batch, Loader, LoaderOptions};

const COLLECTIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/collections");

fn bootmae(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bootmae")).args(arguments).output().expect("the program starts")
}

fn says(output: &Output, code: i32, parts: &[&str]) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    parts.iter().for_each(|part| assert!(text.contains(part), "no `{part}` in: {text}"));
}

/// What training says of images that it refuses; it looks at them before it looks for a GPU.
fn refused(source: &str, parts: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    says(&bootmae(&["pretrain", "--data", source, "--out", run.to_str().unwrap(), "--steps", "1"]), 3, parts);
}

/// A folder of `count` different small images, of which those in `broken` are damaged, each in another way.
fn photos(count: u32, broken: &[u32]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..count {
        let image = image::RgbImage::from_fn(24, 20, |x, y| image::Rgb([number * 5, x * 10, y * 12].map(|v| v as u8)));
        let path = folder.path().join(format!("{number:03}.png"));
        image.save(&path).unwrap();
        if let Some(way) = broken.iter().position(|&broken| broken == number) {
            let mut bytes = fs::read(&path).unwrap();
            match way % 3 {
                0 => bytes.truncate(bytes.len() / 2),
                1 => bytes = b"not a picture".to_vec(),
                _ => bytes.clear(),
            }
            fs::write(&path, bytes).unwrap();
        }
    }
    folder
}

#[test]
fn collections_that_cannot_be_used_exit_with_3_and_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(at("empty")).unwrap();
    refused(&at("empty"), &[&at("empty"), "holds no images; it needs files ending in"]);
    refused(&at("missing"), &[&at("missing"), "No such file", "check the path"]);
    refused(&at("{0..3}.tar"), &[&at("0.tar"), "check the path"]);
    fs::write(at("notes.txt"), "no images").unwrap();
    refused(&at("notes.txt"), &[&at("notes.txt"), "single images are given by their folder"]);
    fs::create_dir(at("pointers")).unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 48211\n";
    for name in ["shard.tar", "pointers/train-0.parquet"] {
        fs::write(at(name), pointer).unwrap();
    }
    refused(&at("shard.tar"), &[&at("shard.tar"), "a Git LFS pointer", "git lfs pull"]);
    refused(&at("pointers"), &["train-0.parquet", "a Git LFS pointer", "git lfs pull"]);
    fs::create_dir(at("packed")).unwrap();
    fs::write(at("packed/photos.zip"), "PK").unwrap();
    refused(&at("packed"), &["packed holds no images", "1 file passed over: endings .zip 1", "unpack them"]);
    fs::write(at("cut.tar"), &fs::read(format!("{COLLECTIONS}/images.tar")).unwrap()[..1500]).unwrap();
    refused(&at("cut.tar"), &[&at("cut.tar"), "write or fetch it again"]);
    refused(&format!("{COLLECTIONS}/numbers.parquet"), &["numbers.parquet", "no column of images"]);
    let few = photos(5, &[]);
    refused(
        few.path().to_str().unwrap(),
        &[few.path().to_str().unwrap(), "5 images are fewer than a batch of 64", "--batch-size"],
    );
}

#[cfg(unix)]
#[test]
fn links_in_circles_end() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    symlink(at("b"), at("a")).unwrap();
    symlink(at("a"), at("b")).unwrap();
    refused(&at("a"), &[&at("a"), "check the path"]);
    fs::create_dir(at("round")).unwrap();
    symlink(at("round"), at("round/up")).unwrap();
    refused(&at("round"), &[&at("round"), "leads back to a folder above it", "holds no images"]);
}

#[cfg(unix)]
#[test]
fn what_may_not_be_read_is_named() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let folder = photos(3, &[]);
    let program = folder.path().join("program");
    let lock = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir(folder.path().join("images")).unwrap();
    fs::create_dir(folder.path().join("images/locked")).unwrap();
    for number in 0..3 {
        let name = format!("{number:03}.png");
        fs::rename(folder.path().join(&name), folder.path().join("images").join(&name)).unwrap();
        lock(&folder.path().join("images").join(&name), 0o000);
    }
    lock(folder.path(), 0o755);
    if fs::hard_link(env!("CARGO_BIN_EXE_bootmae"), &program).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_bootmae"), &program).unwrap();
    }
    let check = || {
        let mut command = Command::new(&program);
        command.args(["data", "check", folder.path().join("images").to_str().unwrap()]);
        // The superuser reads everything, so another user looks.
        if folder.path().metadata().unwrap().uid() == 0 {
            command.uid(65534).gid(65534);
        }
        command.output().expect("the program starts")
    };
    says(&check(), 3, &["none of the 3 images tried", "000.png (Permission denied"]);
    lock(&folder.path().join("images/locked"), 0o000);
    lock(&folder.path().join("images/001.png"), 0o644);
    // A folder that may not be read is named, and the others are taken.
    let parts =
        ["3, 1 readable", "000.png: Permission denied", "002.png: Permission denied", "images/locked (Permission"];
    says(&check(), 1, &parts);
    lock(&folder.path().join("images/locked"), 0o755);
    lock(&folder.path().join("images"), 0o000);
    says(&check(), 3, &["images: Permission denied"]);
    lock(&folder.path().join("images"), 0o755);
}

#[test]
fn what_is_taken_and_what_not_is_said() {
    let folder = photos(3, &[]);
    let at = |name: &str| folder.path().join(name);
    for (name, to) in [("a.jfif", "000.png"), ("b.png_large", "001.png"), ("c", "002.png"), (".d.png", "000.png")] {
        fs::copy(at(to), at(name)).unwrap();
    }
    fs::copy(at("000.png"), at("000.seg.png")).unwrap();
    fs::write(at("notes.txt"), "x").unwrap();
    let source = folder.path().to_str().unwrap();
    let line = "3 files passed over: endings .txt 1; hidden 1; masks and labels beside photos 1";
    says(&bootmae(&["data", "check", source]), 0, &["6, 6 readable", line]);
    let found: serde_json::Value =
        serde_json::from_slice(&bootmae(&["data", "check", source, "--json"]).stdout).unwrap();
    assert_eq!((&found["passed_over"]["endings"][".txt"], &found["passed_over"]["masks"]), (&1.into(), &1.into()));
    refused(source, &[line, "6 images are fewer than a batch"]);
    let packed = at("packed");
    says(&bootmae(&["data", "pack", source, "-o", packed.to_str().unwrap()]), 0, &[line, "6 images in 1 shards"]);
}

#[test]
fn of_a_data_set_in_parts_the_one_for_training_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    for (file, to) in [("plain", "train"), ("binary", "validation"), ("gzip", "test")] {
        let to = folder.path().join(format!("default/{to}"));
        fs::create_dir_all(&to).unwrap();
        fs::copy(format!("{COLLECTIONS}/{file}.parquet"), to.join("0000.parquet")).unwrap();
    }
    let check = |place: &str| bootmae(&["data", "check", folder.path().join(place).to_str().unwrap()]);
    let told = "only the 1 that are of the part `train` are taken; left: test 1, validation 1";
    says(&check(""), 0, &["12, 12 readable", "duplicates        0", told]);
    says(&check("default/test"), 0, &["12, 12 readable"]);
}

#[cfg(unix)]
#[test]
fn names_command_no_terminal_and_break_no_line() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = photos(12, &[]);
    let names: [&[u8]; 5] = [
        b"two\nlines.png",
        b"red\x1b[31m.png",
        b"back\rall good.png",
        b"latin-\xE4.png",
        "right\u{202e}gnp.png".as_bytes(),
    ];
    for name in names {
        fs::write(folder.path().join(OsStr::from_bytes(name)), "junk").unwrap();
    }
    let source = folder.path().to_str().unwrap();
    let output = bootmae(&["data", "check", source]);
    let spelled =
        [r"two\nlines.png: neither", r"red\u{1b}[31m.png: ", r"back\rall good.png: ", r"right\u{202e}gnp.png: "];
    says(&output, 1, &spelled);
    let fit = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(!text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    };
    [output.stdout, output.stderr].iter().for_each(|text| fit(text));
    let json = bootmae(&["data", "check", source, "--json"]).stdout;
    let found: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let unreadable: Vec<&str> =
        found["unreadable"].as_array().unwrap().iter().map(|bad| bad["name"].as_str().unwrap()).collect();
    assert!(unreadable.iter().any(|name| name.ends_with("two\nlines.png")), "{unreadable:?}");
    // In training too, and in its log.
    let run = Training::new(&["--max-bad", "0.5", "--steps", "3"]);
    let output = run.train(source, "run", &[]);
    says(&output, 0, &[r"skipped: ", r"two\nlines.png: neither"]);
    fit(&output.stderr);
    let log = fs::read_to_string(run.at("run/train.log")).unwrap();
    fit(log.as_bytes());
    assert!(log.lines().all(|line| line.starts_with("20") && line.get(19..22) == Some("Z  ")), "{log}");
    // A place with such a name, in an error.
    let missing = bootmae(&["data", "check", "/no/such\n\u{1b}[31mplace"]);
    says(&missing, 3, &[r"/no/such\n\u{1b}[31mplace: No such file"]);
    fit(&missing.stderr);
}

/// Short runs of a small network in a folder of their own.
struct Training {
    folder: tempfile::TempDir,
    fixed: Vec<String>,
}

impl Training {
    fn new(fixed: &[&str]) -> Training {
        let folder = tempfile::tempdir().unwrap();
        let text =
            "[model]\npreset = \"nano\"\nimage_size = 16\nwidth = 32\ndepth = 2\nheads = 2\npixel_decoder_width = 32\n";
        fs::write(folder.path().join("small.toml"), text).unwrap();
        Training { folder, fixed: fixed.iter().map(|text| text.to_string()).collect() }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Trains on `source` in a run folder, by its path or its name here.
    fn train(&self, source: &str, run: &str, more: &[&str]) -> Output {
        let (config, out) = (self.at("small.toml"), self.at(run));
        let arguments = ["pretrain", "--data", source, "--out", &out, "--config", &config, "--batch-size", "8"];
        let fixed = self.fixed.iter().map(String::as_str);
        bootmae(&arguments.into_iter().chain(fixed).chain(more.iter().copied()).collect::<Vec<_>>())
    }
}

#[test]
fn a_run_folder_among_the_images_is_none_of_them() {
    let photos = photos(12, &[]);
    let source = photos.path().to_str().unwrap();
    let within = photos.path().join("run").to_str().unwrap().to_owned();
    let run = Training::new(&["--steps", "6", "--sample-every", "2"]);
    says(&run.train(source, "elsewhere", &[]), 0, &["12 images, 6 steps"]);
    says(&run.train(source, &within, &["--stop-after", "3"]), 0, &["12 images, 6 steps"]);
    assert!(photos.path().join("run/samples/step-2.png").exists());
    let resumed = run.train(source, &within, &["--resume"]);
    says(&resumed, 0, &["12 images, 6 steps", "left out, since runs write there: "]);
    let weights = |run: &str| fs::read(format!("{run}/checkpoints/step-6/model.safetensors")).unwrap();
    assert!(weights(&within) == weights(&run.at("elsewhere")), "other bits");
    // For another run it is none of the images either.
    says(&bootmae(&["data", "check", source]), 0, &["12, 12 readable", "left out, since runs write there: ", "run"]);
}

#[test]
fn a_run_goes_on_with_the_images_that_it_began_with_or_not_at_all() {
    let photos = photos(12, &[]);
    let source = photos.path().to_str().unwrap();
    let run = Training::new(&["--steps", "4", "--sample-every", "0"]);
    says(&run.train(source, "run", &["--stop-after", "2"]), 0, &["step 2 of 4"]);
    fs::copy(photos.path().join("000.png"), photos.path().join("005a.png")).unwrap();
    let refusal = ["13 images where there were 12", "1 new: ", "005a.png", "--allow-changed-data", "--init-from"];
    says(&run.train(source, "run", &["--resume"]), 3, &refusal);
    fs::remove_file(photos.path().join("005.png")).unwrap();
    says(&run.train(source, "run", &["--resume"]), 3, &["12 images as before, but others", "1 new: ", "1 gone"]);
    // As it was, in another place.
    let moved = run.at("moved/photos");
    fs::create_dir_all(&moved).unwrap();
    for number in 0..12 {
        let from = if number == 5 { "005a.png".into() } else { format!("{number:03}.png") };
        fs::copy(photos.path().join(from), format!("{moved}/{number:03}.png")).unwrap();
    }
    says(&run.train(&run.at("moved"), "run", &["--resume", "--stop-after", "3"]), 0, &["12 images", "step 3 of 4"]);
    let told = ["is not what the run began with", "step 4 of 4"];
    says(&run.train(source, "run", &["--resume", "--allow-changed-data"]), 0, &told);
}

/// The batches of a range of steps.
fn batches(source: &str, threads: usize, max_bad_fraction: f64, steps: std::ops::Range<u64>) -> Vec<Batch> {
    let options = LoaderOptions {
        batch_size: 8,
        height: 16,
        width: 16,
        seed: 4,
        threads,
        max_bad_fraction,
        ..LoaderOptions::default()
    };
    let mut loader = Loader::new(data::open(source).unwrap(), options, steps.start).unwrap();
    steps.map(|_| loader.next().unwrap()).collect()
}

#[test]
fn with_five_percent_broken_every_one_is_named_and_resuming_gives_the_same_batches() {
    let folder = photos(60, &[7, 31, 58]);
    let source = folder.path().to_str().unwrap();
    // Two epochs of 60 images are 15 steps of 8.
    let whole = batches(source, 1, 0.05, 0..15);
    let named: BTreeSet<&String> = whole.iter().flat_map(|batch| &batch.bad).collect();
    assert_eq!(named.len(), 3, "{named:?}");
    for (name, bad) in named.iter().zip(["007.png: ", "031.png: neither JPEG", "058.png: neither JPEG"]) {
        assert!(name.contains(bad), "{name}");
    }
    assert_eq!(whole, batches(source, 3, 0.05, 0..15));
    for start in 1..15 {
        for (resumed, whole) in batches(source, 2, 0.05, start..15).iter().zip(&whole[start as usize..]) {
            assert_eq!((&resumed.images, &resumed.shown), (&whole.images, &whole.shown), "from step {start}");
        }
    }
}

#[test]
fn a_run_with_five_percent_broken_ends_well_and_one_with_more_than_allowed_does_not() {
    let folder = photos(40, &[3, 22]);
    let run = Training::new(&["--steps", "5"]);
    let train = |name: &str, max_bad: &str| run.train(folder.path().to_str().unwrap(), name, &["--max-bad", max_bad]);
    says(&train("allowed", "0.05"), 0, &["skipped: ", "003.png", "022.png"]);
    says(&train("refused", "0.025"), 3, &["2 of 40 images", "2.5 % allowed", "--max-bad"]);
}

#[test]
fn check_describes_a_collection_and_names_what_is_wrong() {
    let folder = photos(12, &[4, 9]);
    fs::copy(folder.path().join("000.png"), folder.path().join("copy.png")).unwrap();
    let source = folder.path().to_str().unwrap();
    let text = bootmae(&["data", "check", source]);
    let parts = ["13, 11 readable", "PNG RGB: 11", "24×20: 11", "004.png: ", "009.png: neither JPEG", "copy.png is "];
    says(&text, 1, &parts);
    let output = bootmae(&["data", "check", source, "--json"]);
    says(&output, 1, &[]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["images"], &found["readable"]), (&13.into(), &11.into()));
    assert!(found["unreadable"][0]["name"].as_str().unwrap().ends_with("004.png"));
    assert!(found["duplicates"][0]["of"].as_str().unwrap().ends_with("000.png"));
    says(&bootmae(&["data", "check", &format!("{COLLECTIONS}/images.tar")]), 0, &["classes           2", "PNG RGB: 3"]);
}

#[test]
fn packed_shards_are_a_collection_and_a_full_folder_is_left_alone() {
    let folder = photos(12, &[4]);
    let packed = folder.path().join("packed");
    let (source, packed) = (folder.path().to_str().unwrap(), packed.to_str().unwrap());
    let arguments = ["data", "pack", source, "-o", packed, "--image-size", "10"];
    says(&bootmae(&arguments), 0, &["11 images in 1 shards", "left out: ", "004.png"]);
    says(&bootmae(&["data", "check", packed]), 0, &["12×10: 11", "PNG RGB: 11"]);
    says(&bootmae(&arguments), 2, &["packed is not empty"]);
    says(&bootmae(&["data", "bench", packed, "--images", "5"]), 0, &["images/s on one thread", "11 images"]);
    let output = bootmae(&["data", "bench", packed, "--images", "5", "--augment", "finetune", "--json"]);
    let rate: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(rate["images_per_s"].as_f64().unwrap() > 0.0 && rate["images"] == 5);
}
