//! Files that a person names for output, and advice on the command line. No GPU is needed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use bootmae::{
    checkpoint,
    formats::tensors::{self, Written},
    train::{
        config::RunConfig,
        snapshot::{MODEL, MOMENT1, MOMENT2, NamedTensor, Snapshot, TEACHER},
    },
};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photos/train");

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootmae"));
    command.args(words).stdin(Stdio::null());
    command
}

fn bootmae(words: &[&str]) -> Output {
    command(words).output().expect("the program starts")
}

#[track_caller]
fn says(output: &Output, code: i32, parts: &[&str]) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    parts.iter().for_each(|part| assert!(text.contains(part), "no `{part}` in: {text}"));
    assert!(!text.contains("panicked"), "{text}");
}

/// A made-up checkpoint, whose weights no network has.
fn checkpoint_in(folder: &Path) -> PathBuf {
    let tensor = || NamedTensor { name: "cls_token".into(), shape: vec![5000], data: vec![0.5; 5000] };
    let groups = [MODEL, TEACHER, MOMENT1, MOMENT2].map(|group| (group.to_string(), vec![tensor()])).into();
    let config = RunConfig::preset("nano").unwrap();
    let snapshot = Snapshot {
        step: 3,
        config,
        adapter: "none".into(),
        tuning: None,
        left_out: Vec::new(),
        collection: None,
        groups,
    };
    let place = folder.join("step-3");
    fs::create_dir(&place).unwrap();
    checkpoint::write(&snapshot, &place).unwrap();
    place
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_file_that_is_named_for_output_is_replaced_unless_it_is_read_or_a_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (place, out) = (checkpoint_in(folder.path()), folder.path().join("a.safetensors"));
    let export = |from: &Path, to: &Path| bootmae(&["export", "--checkpoint", text(from), "--out", text(to)]);
    fs::write(&out, "an older export").unwrap();
    says(&export(&place, &out), 0, &["after step 3"]);
    let bytes = fs::read(&out).unwrap();
    assert!(bytes.len() > 20_000);
    says(&export(&out, &out), 2, &["this file is read"]);
    says(&export(&place, &place), 2, &["a folder"]);
    for name in ["model.safetensors", "state.json", "MANIFEST.json"] {
        says(&export(&place, &place.join(name)), 2, &["belongs to a run or checkpoint"]);
    }
    checkpoint::read(&place).unwrap();
    let image = format!("{PHOTOS}/../held-out/coffee.jpg");
    let copy = folder.path().join("coffee.jpg");
    fs::copy(&image, &copy).unwrap();
    let words = ["reconstruct", "--checkpoint", text(&place), "--image", text(&copy), "--out", text(&copy)];
    says(&bootmae(&words), 2, &["this file is read"]);
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&image).unwrap());
    #[cfg(unix)]
    {
        let (hard, soft) = (folder.path().join("hard"), folder.path().join("soft"));
        fs::hard_link(&out, &hard).unwrap();
        std::os::unix::fs::symlink(&out, &soft).unwrap();
        for same in [&hard, &soft] {
            says(&export(&out, same), 2, &["this file is read"]);
        }
        let inside = folder.path().join("inside");
        std::os::unix::fs::symlink(place.join("model.safetensors"), &inside).unwrap();
        says(&export(&place, &inside), 2, &["belongs to a run or checkpoint"]);
    }
    assert_eq!(fs::read(&out).unwrap(), bytes);
    assert!(fs::read_dir(folder.path()).unwrap().all(|e| !text(&e.unwrap().path()).ends_with(".partial")));
}

#[cfg(unix)]
#[test]
fn an_output_that_is_a_link_a_device_or_a_pipe_stays_one() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let place = checkpoint_in(folder.path());
    let export = |to: &Path| command(&["export", "--checkpoint", text(&place), "--out", text(to)]);
    says(&export(&at("plain")).output().unwrap(), 0, &[]);
    let bytes = fs::read(at("plain")).unwrap();

    fs::create_dir(at("store")).unwrap();
    fs::write(at("store/real"), "old").unwrap();
    fs::set_permissions(at("store/real"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("store/real", at("link")).unwrap();
    symlink("store/new", at("dangling")).unwrap();
    for (name, target) in [("link", "store/real"), ("dangling", "store/new")] {
        says(&export(&at(name)).output().unwrap(), 0, &[]);
        assert!(at(name).is_symlink() && fs::read(at(target)).unwrap() == bytes, "{name}");
    }
    assert_eq!(fs::metadata(at("store/real")).unwrap().permissions().mode() & 0o777, 0o640);

    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let reader = Command::new("cat").arg(at("pipe")).stdout(Stdio::piped()).spawn().unwrap();
    says(&export(&at("pipe")).output().unwrap(), 0, &[]);
    assert!(reader.wait_with_output().unwrap().stdout == bytes);
    says(&export(&at("pipe")).output().unwrap(), 6, &["a named pipe that nothing reads"]);
    assert!(fs::metadata(at("pipe")).unwrap().file_type().is_fifo());

    // Standard output carries the weights alone.
    let output = export(Path::new("/proc/self/fd/1")).output().unwrap();
    if Path::new("/proc/self/fd/1").exists() {
        assert!(output.status.success() && output.stdout == bytes);
        assert!(String::from_utf8_lossy(&output.stderr).contains("after step 3"));
    }

    // Devices of their own, since a fault here would cost the system's.
    for (name, minor, code) in [("null", "3", 0), ("full", "7", 6)] {
        let made = Command::new("mknod").args(["-m", "666", text(&at(name)), "c", "1", minor]).output();
        let opens = fs::OpenOptions::new().write(true).open(at(name)).is_ok();
        if !made.is_ok_and(|made| made.status.success()) || !opens {
            eprintln!("skipped: no devices can be made here");
            continue;
        }
        says(&export(&at(name)).output().unwrap(), code, &[]);
        assert!(fs::metadata(at(name)).unwrap().file_type().is_char_device(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn packed_images_go_where_a_link_leads_and_replace_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pack = |to: &str| bootmae(&["data", "pack", PHOTOS, "-o", text(&at(to)), "--image-size", "16"]);
    fs::create_dir_all(at("disk/packed")).unwrap();
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full/mine"), "mine").unwrap();
    fs::write(at("file"), "mine").unwrap();
    for (link, target) in [("link", "disk/packed"), ("dangling", "disk/none"), ("mine", "full")] {
        std::os::unix::fs::symlink(target, at(link)).unwrap();
    }
    says(&pack("link"), 0, &["shards"]);
    assert!(at("link").is_symlink() && at("disk/packed/shard-000000.tar").exists());
    says(&pack("dangling"), 2, &["a link that leads nowhere"]);
    says(&pack("mine"), 2, &["not empty"]);
    says(&pack("file"), 2, &["not a folder"]);
    assert_eq!(
        (fs::read_dir(at("full")).unwrap().count(), fs::read_to_string(at("file")).unwrap()),
        (1, "mine".into())
    );
}

/// Runs a verb whose standard output, or both outputs, are read no further than their first line.
#[cfg(unix)]
fn cut_short(words: &str, both: bool) -> Output {
    let both = if both { "2>&1" } else { "" };
    let script = format!("\"$0\" {words} {both} | true; exit ${{PIPESTATUS[0]}}");
    Command::new("bash").args(["-c", &script, env!("CARGO_BIN_EXE_bootmae")]).output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..2000u32 {
        let path = folder.path().join(format!("{i:04}.png"));
        if i.is_multiple_of(4) {
            image::RgbImage::new(1, 1).save(path).unwrap()
        } else {
            fs::write(path, "no").unwrap()
        }
    }
    for both in [false, true] {
        says(&cut_short(&format!("data check {}", text(folder.path())), both), 1, &[]);
        says(&cut_short(&format!("data check --json {}", text(folder.path())), both), 1, &[]);
        says(&cut_short("--help", both), 0, &[]);
        let dry = format!("pretrain --dry-run --out {}/none --data {PHOTOS} --batch-size 4", text(folder.path()));
        says(&cut_short(&dry, both), 0, &[]);
    }
    if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
        let words = ["data", "bench", PHOTOS, "--images", "1"];
        let output = command(&words).stdout(full).output().unwrap();
        says(&output, 6, &["standard output"]);
    }
}

#[test]
fn words_of_other_programs_are_told_what_they_are_called_here() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let with =
        |rest: &[&str]| bootmae(&[&["pretrain", "--data", PHOTOS, "--out", text(&out), "--dry-run"], rest].concat());
    for (flag, part) in [
        ("--mask-ratio", "`masked` in [model]"),
        ("--lr", "`peak_learning_rate` in [training]"),
        ("--blr", "blr × batch_size / 256"),
        ("--img-size", "here it is --image-size"),
        ("--input_size", "here it is --image-size"),
        ("--data-path", "here it is --data"),
        ("--output_dir", "here it is --out"),
        ("--accum_iter", "--micro-batch"),
        ("--num-workers", "`loader_threads` in [data]"),
        ("--warmup-epochs", "`warmup_epochs` in [training]"),
    ] {
        says(&with(&[flag, "1"]), 2, &["has no ", flag, part]);
    }
    says(&bootmae(&["bench", "--img-size", "32"]), 2, &["--image-size"]);
    for (flag, value, part) in [
        ("--seed", "-1", "0 to 9223372036854775807"),
        ("--seed", "18446744073709551615", "0 to 9223372036854775807"),
        ("--steps", "-5", "from 1 to"),
        ("--steps", "18446744073709551615", "from 1 to"),
        ("--batch-size", "-4", "from 1 to"),
        ("--epochs", "-0.5", "above 0"),
        ("--max-bad", "-0.1", "0 to 1"),
        ("--keep", "-1", "from 1 to"),
        ("--image-size", "-32", "from 1 to"),
    ] {
        says(&with(&[flag, value]), 2, &[value, part]);
    }
    let config = folder.path().join("c.toml");
    for (seed, parts) in [
        ("-1", &["seed", "-1", "0 to 9223372036854775807"][..]),
        ("18446744073709551615", &["c.toml", "seed = 18446744073709551615", "whole numbers go to 9223372036854775807"]),
        ("1.5", &["seed"]),
    ] {
        fs::write(&config, format!("[training]\nseed = {seed}\n")).unwrap();
        says(&with(&["--config", text(&config)]), 2, parts);
    }
}

#[test]
fn weights_of_other_programs_are_named_for_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("weights.pth"), folder.path().join("out"));
    for (bytes, part) in [
        (&b"PK\x03\x04\0\0\0\0\0\0\0\0archive/data.pkl"[..], "a zip archive that is not read: its end is missing"),
        (b"\x80\x02}q\0.", "a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><title>Sign in</title>", "a web page"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
        (b"", "an empty file"),
    ] {
        fs::write(&file, bytes).unwrap();
        says(&bootmae(&["export", "--checkpoint", text(&file), "--out", text(&out)]), 6, &["weights.pth", part]);
        let init = ["pretrain", "--data", PHOTOS, "--out", text(&out), "--dry-run", "--init-from", text(&file)];
        says(&bootmae(&init), 6, &["weights.pth", part]);
    }
    let words = ["export", "--checkpoint", text(folder.path()), "--out", text(&out)];
    says(&bootmae(&words), 6, &["a folder without a checkpoint", "weights.pth"]);
    assert!(!out.exists());
}

/// A feature file of two values an image, made of a checkpoint with this hash.
fn features_in(folder: &Path, name: &str, classes: &[&str], labels: &[i64], about: &[(&str, &str)]) -> String {
    let path = folder.join(name);
    let mut metadata: BTreeMap<&str, String> = about.iter().map(|(key, value)| (*key, value.to_string())).collect();
    if !classes.is_empty() {
        metadata.insert("classes", serde_json::to_string(classes).unwrap());
    }
    // Of a class all lie near one point.
    let values: Vec<f32> = labels.iter().zip(0..).flat_map(|(of, n)| [*of as f32, 1.0 + n as f32 / 100.0]).collect();
    let shape = [labels.len(), 2];
    let features = Written { name: "features".into(), shape: &shape, values: &values };
    let file = fs::File::create(&path).unwrap();
    tensors::write_with_integers(file, &metadata, &[("labels", labels)], &[features]).unwrap();
    text(&path).into()
}

#[test]
fn features_that_cannot_be_compared_are_refused_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, classes: &[&str], labels: &[i64], about: &[(&str, &str)]| {
        features_in(folder.path(), name, classes, labels, about)
    };
    let mean = [("checkpoint", "abc"), ("pool", "mean")];
    let train = of("train.safetensors", &["a", "b"], &[0, 1, 0, 1, 0, 1, -1], &mean);
    let run = |verb: &str, train: &str, test: &[&str]| bootmae(&[&[verb, "--features", train], test].concat());
    for verb in ["knn", "probe"] {
        let with = |test: &str, code, parts: &[&str]| says(&run(verb, &train, &["--test-features", test]), code, parts);
        // Classes are matched by name.
        let swapped = of("test.safetensors", &["b", "a"], &[1, 0], &mean);
        with(&swapped, 0, &["of 2 images in 2 classes", "6 images of"]);
        let other = of("other.safetensors", &["a", "b"], &[0, 1], &[("checkpoint", "abd"), ("pool", "mean")]);
        with(&other, 6, &["other.safetensors", "checkpoint is `abd` against `abc`"]);
        let cls = of("cls.safetensors", &["a", "b"], &[0, 1], &[("checkpoint", "abc"), ("pool", "cls")]);
        with(&cls, 6, &["pool is `cls` against `mean`"]);
        let alien = of("alien.safetensors", &["a", "c"], &[0, 1], &mean);
        with(&alien, 3, &["the class `c` (such as row 1) has no image to train on in"]);
        with(
            &of("numbers.safetensors", &[], &[0, 1], &mean),
            3,
            &["its classes have numbers and those of", "have names"],
        );
        with(
            &of("bare.safetensors", &["a", "b"], &[-1, -1], &mean),
            3,
            &["bare.safetensors: no image of it has a label"],
        );
        let alone = |name: &str, classes: &[&str], labels: &[i64], parts: &[&str]| {
            says(&run(verb, &of(name, classes, labels, &mean), &[]), 3, parts);
        };
        alone("one.safetensors", &["a"], &[0, 0, 0], &["all images to train on are of one class, `a`"]);
        alone("empty.safetensors", &["a", "b", "c"], &[0, 0, 2, 2], &["the class `b` has no image to train on"]);
        alone("single.safetensors", &["a", "b"], &[0, 1], &["no class has two images"]);
        alone("none.safetensors", &["a"], &[-1], &["no image of it has a label"]);
        says(&run(verb, text(folder.path()), &[]), 6, &["not a file"]);
        says(&run(verb, &format!("{PHOTOS}/../held-out/coffee.jpg"), &[]), 6, &["no safetensors but", "bootmae embed"]);
        says(&run(verb, &train, &["--pool", "cls"]), 2, &["cannot be used with"]);
        says(&bootmae(&[verb, "--data", PHOTOS]), 2, &["--checkpoint"]);
    }
    let wider = folder.path().join("wider.safetensors");
    let features = Written { name: "features".into(), shape: &[2, 3], values: &[0.0; 6] };
    let file = fs::File::create(&wider).unwrap();
    tensors::write_with_integers(file, &BTreeMap::new(), &[("labels", &[0, 1])], &[features]).unwrap();
    let test = ["--test-features", text(&wider)];
    says(&run("knn", &train, &test), 6, &["wider.safetensors: features of 3 values against 2"]);
    says(&run("probe", &train, &["--lambda", "1"]), 2, &["--lambda is for --method ridge"]);
    says(&run("probe", &train, &["--method", "ridge", "--c", "1"]), 2, &["--c is for --method logistic"]);
}

#[test]
fn results_go_into_a_folder_that_holds_nothing_else_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let features = features_in(folder.path(), "a.safetensors", &["a", "b,c"], &[0, 1].repeat(20), &[("step", "7")]);
    let out = folder.path().join("new/results");
    let probe =
        |out: &Path, more: &[&str]| bootmae(&[&["probe", "--features", &features, "--out", text(out)], more].concat());
    says(
        &probe(&out, &[]),
        0,
        &["step 7, logistic regression, C = ", "(chosen on 4 training images held out): top-1 100.0 %"],
    );
    let csv = fs::read_to_string(out.join("confusion.csv")).unwrap();
    assert_eq!(csv, "class / taken for,a,\"b,c\"\na,2,0\n\"b,c\",0,2\n");
    assert!(image::open(out.join("confusion.png")).unwrap().width() > 200);
    let results =
        || -> serde_json::Value { serde_json::from_slice(&fs::read(out.join("results.json")).unwrap()).unwrap() };
    assert_eq!((&results()["candidates"].as_array().unwrap().len(), &results()["value"]), (&7, &0.001.into()));
    let report = out.join("report.html");
    fs::write(&report, "<html>mine").unwrap();
    says(
        &bootmae(&["report", text(&out)]),
        2,
        &["report.html is there and was not written by bootmae; give --out FILE"],
    );
    let read = out.join("confusion.png");
    says(&bootmae(&["report", text(&out), "--out", text(&read)]), 2, &["this file is read"]);
    fs::remove_file(&report).unwrap();
    for _ in 0..2 {
        says(&bootmae(&["report", text(&out)]), 0, &["report.html"]);
    }
    // Earlier results are replaced, and nothing else.
    fs::write(out.join("notes.txt"), "mine").unwrap();
    says(&probe(&out, &["--method", "ridge", "--lambda", "2"]), 0, &["ridge regression, lambda = 2 (given)"]);
    assert_eq!((results()["setting"].as_str(), results()["held_out"].as_u64()), (Some("lambda"), Some(0)));
    fs::write(out.join("results.json"), "{\"mine\": 1}").unwrap();
    says(&probe(&out, &[]), 2, &["results.json is there and no result of this program"]);
    assert_eq!(fs::read(out.join("results.json")).unwrap(), b"{\"mine\": 1}");
    says(&probe(Path::new(&features), &[]), 2, &["not a folder"]);
}

#[test]
fn classifiers_are_verified_without_an_adapter() {
    let fixture = |name: &str| format!("{}/tests/fixtures/classify/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let verify = |name: &str| {
        let mut command = command(&["verify", &fixture(name)]);
        command.env("VK_DRIVER_FILES", "/dev/null").env("VK_ICD_FILENAMES", "/dev/null").output().unwrap()
    };
    says(&verify("knn"), 0, &["knn on the processor", "ok     neighbours", "ok     predictions"]);
    says(&verify("logistic"), 0, &["logistic on the processor", "ok     objective", "ok     ridge"]);
}

#[test]
fn features_are_written_in_the_format_that_their_name_says_and_over_nothing_unnamed() {
    let folder = tempfile::tempdir().unwrap();
    let place = checkpoint_in(folder.path());
    let embed = |out: &Path| bootmae(&["embed", "--checkpoint", text(&place), "--data", PHOTOS, "--out", text(out)]);
    says(&embed(&folder.path().join("features")), 2, &["end in .safetensors, npy, csv or parquet"]);
    says(&embed(&place.join("model.safetensors")), 2, &["belongs to a run or checkpoint"]);
    fs::write(folder.path().join("a.names.txt"), "mine").unwrap();
    says(&embed(&folder.path().join("a.npy")), 2, &["a.names.txt is there without the rest"]);
    assert_eq!(fs::read(folder.path().join("a.names.txt")).unwrap(), b"mine");
    let test = ["embed", "--checkpoint", text(&place), "--data", PHOTOS, "--out", "x.csv", "--split", "test"];
    says(&bootmae(&test), 3, &["it has one side"]);
}
