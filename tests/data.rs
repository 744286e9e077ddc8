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
    says(&check(), 3, &["images/locked: Permission denied", "make the folder readable"]);
    lock(&folder.path().join("images/locked"), 0o755);
    lock(&folder.path().join("images/001.png"), 0o644);
    says(&check(), 1, &["3, 1 readable", "000.png: Permission denied", "002.png: Permission denied"]);
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
    let out = tempfile::tempdir().unwrap();
    let config = out.path().join("small.toml");
    let text =
        "[model]\npreset = \"nano\"\nimage_size = 16\nwidth = 32\ndepth = 2\nheads = 2\npixel_decoder_width = 32\n";
    fs::write(&config, text).unwrap();
    let train = |name: &str, max_bad: &str| {
        let run = out.path().join(name);
        let (source, run, config) = (folder.path().to_str().unwrap(), run.to_str().unwrap(), config.to_str().unwrap());
        let fixed =
            ["pretrain", "--data", source, "--out", run, "--config", config, "--batch-size", "8", "--steps", "5"];
        bootmae(&fixed.iter().chain(&["--max-bad", max_bad]).copied().collect::<Vec<_>>())
    };
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
    let output = bootmae(&["data", "bench", packed, "--images", "5", "--json"]);
    let rate: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(rate["images_per_s"].as_f64().unwrap() > 0.0 && rate["images"] == 5);
}
