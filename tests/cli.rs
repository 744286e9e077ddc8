//! The command line: runs, resumption, and clear errors with their exit codes.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};
#[cfg(unix)]
use std::{
    process::Stdio,
    time::{Duration, Instant},
};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photos/train");
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/step_tiny.safetensors");

fn bootmae(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_bootmae"));
    program.args(arguments).env("BOOTMAE_NO_TUNE", "1").output().expect("the program starts")
}

fn says(output: &Output, code: i32, parts: &[&str]) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    parts.iter().for_each(|part| assert!(text.contains(part), "no `{part}` in: {text}"));
}

/// The quicker of the software adapters, where the tests are told that it is there.
fn adapter() -> &'static [&'static str] {
    let expected = std::env::var("BOOTMAE_EXPECT_ADAPTERS").unwrap_or_default();
    if expected.contains("llvmpipe") { &["--adapter", "llvmpipe"] } else { &[] }
}

fn pretrain(out: &Path, rest: &[&str]) -> Output {
    pretrain_with("", out, rest)
}

/// Trains a very small network; `more` adds keys to the section `[training]`.
fn pretrain_with(more: &str, out: &Path, rest: &[&str]) -> Output {
    pretrain_command(more, out, rest).output().expect("the program starts")
}

fn pretrain_command(more: &str, out: &Path, rest: &[&str]) -> Command {
    let folder = out.ancestors().skip(1).find(|path| path.is_dir()).unwrap();
    let config = folder.join("small.toml");
    let text = "[model]\npreset = \"nano\"\nimage_size = 16\nwidth = 32\ndepth = 2\nheads = 2\npixel_decoder_width = 32\n\
                [training]\nsave_every_steps = 6\n";
    fs::write(&config, format!("{text}{more}")).unwrap();
    let (out, config) = (out.to_str().unwrap(), config.to_str().unwrap());
    let fixed = ["pretrain", "--out", out, "--config", config, "--batch-size", "4", "--seed", "3"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootmae"));
    command.args(fixed).args(rest).args(adapter());
    command
}

/// Every file of the checkpoint of a step, by name.
fn checkpoint(run: &Path, step: u64) -> BTreeMap<String, Vec<u8>> {
    let folder = run.join(format!("checkpoints/step-{step}"));
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).map(|e| e.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

/// What the lines of `metrics.jsonl` measured, times left out.
fn losses(run: &Path) -> Vec<(u64, f64, f64)> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let number =
        |line: &str, key: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()[key].as_f64().unwrap();
    text.lines().map(|l| (number(l, "step") as u64, number(l, "loss_pixel"), number(l, "gradient_norm"))).collect()
}

/// How far the teacher was after each step.
#[cfg(unix)]
fn drifts(run: &Path) -> Vec<f64> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["teacher_drift"].as_f64().unwrap();
    text.lines().map(line).collect()
}

/// Starts a run of 40 steps, waits until `lines` steps are done, sends `signal` and returns what became of it.
#[cfg(unix)]
fn interrupted(out: &Path, lines: usize, signal: &str, rest: &[&str]) -> Output {
    let mut command = pretrain_command("", out, &[&["--data", PHOTOS, "--steps", "40"], rest].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let done = || fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
    let began = Instant::now();
    while done() < lines {
        assert!(began.elapsed() < Duration::from_secs(120), "no {lines} steps in two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = pretrain(out, &["--data", PHOTOS, "--steps", "40", "--resume"]);
    says(&refused, 2, &["is training in", "choose another --out"]);
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    child.wait_with_output().unwrap()
}

/// One run without a break, and one with all that can break it: a signal, damage to the newest checkpoint, litter, a
/// time limit and the end of the process in mid-run.
#[cfg(unix)]
#[test]
fn an_interrupted_run_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    says(&pretrain(&whole, &["--data", PHOTOS, "--steps", "40"]), 0, &["adapter: "]);

    // The first step's learning rate is 0.
    let apart = drifts(&whole);
    assert!(apart.len() == 40 && apart[1..].iter().all(|drift| *drift > 0.0), "{apart:?}");

    let stopped = interrupted(&parts, 14, "-TERM", &[]);
    says(&stopped, 130, &["stopped by a signal after step", "checkpoints/step-", "--resume"]);
    let step = losses(&parts).len();
    assert!((14..40).contains(&step), "{step} steps");
    assert_eq!(fs::read_to_string(parts.join("checkpoints/last")).unwrap(), format!("step-{step}\n"));

    let damaged = parts.join(format!("checkpoints/step-{step}/optimizer.safetensors"));
    let length = fs::metadata(&damaged).unwrap().len();
    fs::OpenOptions::new().write(true).open(&damaged).unwrap().set_len(length / 2).unwrap();
    fs::create_dir(parts.join("checkpoints/step-99.partial")).unwrap();
    let on = ["--data", PHOTOS, "--steps", "40", "--resume"];
    let limited = pretrain(&parts, &[&on[..], &["--time-limit", "0s"]].concat());
    let parts_of_it = ["passed over", "optimizer.safetensors", "continuing after step", "time limit reached"];
    says(&limited, 0, &[&parts_of_it[..], &["--resume"]].concat());
    assert!(losses(&parts).len() < step, "lines past the restored step are dropped");

    let killed = interrupted(&parts, 26, "-KILL", &["--resume"]);
    assert_eq!(killed.status.code(), None);
    says(&pretrain(&parts, &on), 0, &["continuing after step", "step 40 of 40"]);
    for step in [30, 36, 40] {
        assert!(checkpoint(&whole, step) == checkpoint(&parts, step), "checkpoints of step {step} differ");
    }
    assert_eq!((checkpoint(&whole, 40).len(), losses(&whole).len()), (5, 40));
    assert_eq!(drifts(&whole), drifts(&parts));
    assert_eq!(losses(&whole), losses(&parts));
    let held = fs::read_dir(parts.join("checkpoints")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(!held.into_iter().any(|name| name.ends_with(".partial")));
    let log = fs::read_to_string(parts.join("train.log")).unwrap();
    assert!(log.contains("stopped by a signal") && log.contains("saved step 40"), "{log}");
}

#[test]
fn a_checkpoint_reconstructs_a_photo() {
    let folder = tempfile::tempdir().unwrap();
    let (run, png) = (folder.path().join("run"), folder.path().join("out.png"));
    says(&pretrain(&run, &["--data", PHOTOS, "--steps", "2", "--sample-every", "2"]), 0, &[]);
    let sample = image::open(run.join("samples/step-2.png")).unwrap();
    assert!(sample.width() > 5 * 256 && !run.join("samples/step-1.png").exists());
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photos/held-out/coffee.jpg");
    let arguments =
        ["reconstruct", "--checkpoint", run.to_str().unwrap(), "--image", photo, "--out", png.to_str().unwrap()];
    says(&bootmae(&arguments), 0, &["hidden patches", "out.png"]);
    let picture = image::open(&png).unwrap();
    assert!(picture.width() > 3 * 256 && picture.height() > 256);
}

/// Folders of so many blue and red pictures.
fn red_and_blue(data: &Path, count: u8) {
    for (class, colour) in [("blue", [0, 0, 255]), ("red", [255, 0, 0])] {
        fs::create_dir_all(data.join(class)).unwrap();
        for shade in 0..count {
            let pixel = image::Rgb(colour.map(|value: u8| value.saturating_sub(shade * 8)));
            image::RgbImage::from_pixel(20, 16, pixel).save(data.join(format!("{class}/{shade}.png"))).unwrap();
        }
    }
}

/// A run without a break and one with, of the same bits; its accuracy is the one that `predict` finds.
#[test]
fn a_fine_tuned_classifier_predicts_as_well_as_its_run_said() {
    let folder = tempfile::tempdir().unwrap();
    let [encoder, whole, parts, data] = ["encoder", "whole", "parts", "data"].map(|name| folder.path().join(name));
    red_and_blue(&data, 12);
    let source = data.to_str().unwrap();
    says(&pretrain(&encoder, &["--data", source, "--steps", "2"]), 0, &[]);
    let settings = folder.path().join("settings.toml");
    let text = "[training]\npeak_learning_rate = 5e-3\nepochs = 4\nbatch_size = 4\nmicro_batches = 2\n\
                sample_every_steps = 3\n\
                [classifier]\ndrop_path = 0.3\n";
    fs::write(&settings, text).unwrap();
    let finetune = |out: &Path, rest: &[&str]| {
        let (out, settings) = (out.to_str().unwrap(), settings.to_str().unwrap());
        let fixed = ["finetune", "--data", source, "--out", out, "--config", settings];
        bootmae(&[&fixed, adapter(), rest].concat())
    };
    let from = ["--checkpoint", encoder.to_str().unwrap()];
    says(&finetune(&whole, &from), 0, &["2 classes", "validation_accuracy 1.0000", "validation_accuracy_average"]);
    says(&finetune(&parts, &[&from[..], &["--stop-after", "7"]].concat()), 0, &["--resume"]);
    let said = finetune(&parts, &["--resume"]);
    says(&said, 0, &["continuing after step 7"]);
    let log = fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let steps = last["step"].as_u64().unwrap();
    assert!(checkpoint(&whole, steps) == checkpoint(&parts, steps), "other bits after a break");

    let predict = |rest: &[&str]| {
        let fixed = ["predict", "--checkpoint", whole.to_str().unwrap()];
        bootmae(&[&fixed, adapter(), rest].concat())
    };
    let (red, table) = (data.join("red/3.png"), folder.path().join("classes.csv"));
    let found = predict(&[red.to_str().unwrap(), "--top", "2", "--out", table.to_str().unwrap()]);
    says(&found, 0, &[]);
    let text = fs::read_to_string(&table).unwrap();
    assert!(text.starts_with("image,class_1,probability_1,class_2,probability_2\n"), "{text}");
    assert!(text.lines().nth(1).unwrap().contains("red/3.png,red,0."), "{text}");
    let found = predict(&["--data", source, "--weights", "average"]);
    // The images that the run held out, and no others.
    says(&found, 0, &["of 2 images (2 of 2 right)", "top-1 100.00 %"]);
    assert_eq!(String::from_utf8_lossy(&found.stdout).lines().count(), 3);
    let otherwise = format!("{source}/../data/");
    says(&predict(&["--data", &otherwise]), 0, &["of 2 images ("]);
    says(&predict(&["--data", source, "--side", "all"]), 0, &["of 24 images ("]);

    let of_encoder = ["predict", "--checkpoint", encoder.to_str().unwrap(), red.to_str().unwrap()];
    says(&bootmae(&of_encoder), 6, &["has no classifier", "bootmae finetune"]);
    let unlabelled = ["--checkpoint", encoder.to_str().unwrap(), "--data", PHOTOS, "--out"];
    says(
        &bootmae(&[&["finetune"], &unlabelled[..], &[parts.to_str().unwrap()]].concat()),
        3,
        &["no image has a label"],
    );
    says(
        &finetune(&whole, &["--resume", "--epochs", "9"]),
        6,
        &["begin a run from its weights: bootmae finetune --check"],
    );
    let early = parts.join("checkpoints/step-7");
    let refused = ["--resume", early.to_str().unwrap()];
    says(&pretrain(&parts, &refused), 6, &["a run of `bootmae finetune`"]);
    says(&finetune(&parts, &[&refused[..], &["--epochs", "9"]].concat()), 6, &["other settings"]);
    assert!(!checkpoint(&parts, steps).is_empty(), "what was refused has set nothing aside");
    says(&pretrain(&whole, &["--resume"]), 6, &["a run of `bootmae finetune`"]);
    says(&finetune(&parts, &[&from[..], &["--model", "nano"]].concat()), 2, &["--checkpoint decides the network"]);
}

#[test]
fn neighbours_tell_red_pictures_from_blue_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (run, data) = (folder.path().join("run"), folder.path().join("data"));
    red_and_blue(&data, 10);
    fs::write(data.join("red/broken.png"), "no picture").unwrap();
    let (run, data) = (run.as_path(), data.to_str().unwrap());
    says(&pretrain(run, &["--data", data, "--steps", "1"]), 0, &[]);
    let knn = |more: &[&str]| {
        let arguments = ["knn", "--checkpoint", run.to_str().unwrap(), "--data", data, "--batch-size", "3"];
        bootmae(&[&arguments, adapter(), more].concat())
    };
    let json = |output: Output| -> serde_json::Value {
        says(&output, 0, &["2 classes"]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let measured = json(knn(&["--k", "3,5", "--json"]));
    let [three, five] = &measured["accuracy"].as_array().unwrap()[..] else { panic!("{measured}") };
    assert_eq!((&three["k"], &five["k"]), (&3.into(), &5.into()));
    assert_eq!((three["top1"].as_f64(), five["majority_top1"].as_f64()), (Some(1.0), Some(1.0)), "{measured}");
    assert_eq!((&measured["train_images"], &measured["test_images"]), (&18.into(), &2.into()), "{measured}");
    assert!(measured["left_out"][0].as_str().unwrap().ends_with("broken.png"), "{measured}");
    says(
        &knn(&["--weights", "teacher"]),
        0,
        &["18 neighbours: top-1 100.0 %", "chance 50.0 %", "blue 100.0, red 100.0"],
    );
    says(&knn(&["--blocks", "9"]), 2, &["9 blocks of an encoder that has 2"]);
    let arguments = ["knn", "--checkpoint", run.to_str().unwrap(), "--data", PHOTOS];
    says(&bootmae(&arguments), 3, &["no image has a label"]);

    // The same from files; what is in them does not depend on the batch.
    let embed = |name: &str, more: &[&str]| {
        let (run, file) = (run.to_str().unwrap(), folder.path().join(name));
        let arguments = ["embed", "--checkpoint", run, "--out", file.to_str().unwrap()];
        let data: &[&str] = if more.contains(&"--data") { &[] } else { &["--data", data] };
        (bootmae(&[&arguments, data, adapter(), more].concat()), file)
    };
    let files = ["1", "3", "64"].map(|batch| {
        let (output, file) = embed(&format!("{batch}.safetensors"), &["--batch-size", batch]);
        says(&output, 0, &["left out: ", "broken.png", "20 features of 32 values after step 1, labels of 2 classes"]);
        fs::read(file).unwrap()
    });
    assert!(files[0] == files[1] && files[1] == files[2], "features depend on the batch size");
    let features = folder.path().join("3.safetensors").to_str().unwrap().to_owned();
    let from_file =
        |verb: &str, more: &[&str]| json(bootmae(&[&[verb, "--features", &features, "--json"], more].concat()));
    let same = |a: &serde_json::Value, b: &serde_json::Value| {
        for key in ["method", "top1", "top5", "per_class", "confusion", "features", "train_images", "classes"] {
            assert_eq!(a[key], b[key], "{key}");
        }
    };
    same(&measured, &from_file("knn", &["--k", "3"]));
    let arguments = ["probe", "--checkpoint", run.to_str().unwrap(), "--data", data, "--json"];
    let computed = json(bootmae(&[&arguments, adapter()].concat()));
    assert_eq!(computed["top1"], 1.0, "{computed}");
    same(&computed, &from_file("probe", &[]));
    let lars = from_file("probe", &["--method", "lars", "--epochs", "9"]);
    assert!(lars["method"].as_str().unwrap().contains("by LARS, 9 epochs of updates of 18 features"), "{lars}");
    let sides = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/labels/folders");
    let [train, test] = ["train", "test"].map(|split| {
        let (output, file) = embed(&format!("{split}.safetensors"), &["--data", sides, "--split", split]);
        says(&output, 0, &["labels of 4 classes"]);
        file.to_str().unwrap().to_owned()
    });
    let arguments = ["knn", "--checkpoint", run.to_str().unwrap(), "--data", sides, "--json"];
    let files = ["knn", "--features", &train, "--test-features", &test, "--json"];
    let [computed, read] = [[&arguments, adapter()].concat(), files.to_vec()]
        .map(|words| serde_json::from_slice(&bootmae(&words).stdout).unwrap());
    same(&computed, &read);
    assert_eq!((&read["train_images"], &read["per_class"][0]["images"]), (&5.into(), &1.into()), "{read}");
    // The class token, another norm and half precision are other features, of the same names.
    let first_values = |more: &[&str]| {
        let (output, file) = embed("other.csv", more);
        says(&output, 0, &["20 features of 32 values"]);
        let text = fs::read_to_string(file).unwrap();
        let line = text.lines().nth(1).unwrap();
        let fields: Vec<&str> = line.split(',').collect();
        assert!(fields[0].ends_with("blue/0.png") && fields[1..3] == ["0", "blue"] && fields.len() == 35, "{line}");
        fields[3..].iter().map(|value| value.parse().unwrap()).collect::<Vec<f32>>()
    };
    let kinds =
        [["--norm", "none"], ["--norm", "final"], ["--norm", "plain"], ["--pool", "cls"], ["--precision", "f16"]];
    let values = kinds.map(|kind| first_values(&kind));
    assert!((0..5).all(|a| (0..a).all(|b| values[a] != values[b])), "{values:?}");
    let moments = |values: &[f32]| [1, 2].map(|n| values.iter().map(|v| v.powi(n)).sum::<f32>() / 32.0);
    let [mean, square] = moments(&values[2]);
    assert!(mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-3, "a plain norm leaves mean {mean}, mean square {square}");
    let error = values[0].iter().zip(&values[4]).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    assert!(error < 1e-4 * values[0].iter().map(|v| v * v).sum::<f32>(), "f16 is off by {error}");
    // Without labels, in NumPy's files.
    let (output, file) = embed("plain.npy", &["--data", PHOTOS]);
    says(&output, 0, &["features of 32 values after step 1, without labels", "plain.labels.npy", "plain.names.txt"]);
    let names = fs::read_to_string(file.with_extension("names.txt")).unwrap();
    let (photos, labels) = (names.lines().count(), fs::read(file.with_extension("labels.npy")).unwrap());
    assert!(photos > 5 && names.contains(".jpg\n") && labels.ends_with(&(-1i64).to_le_bytes()));
    assert_eq!((fs::metadata(&file).unwrap().len(), labels.len()), (128 + photos as u64 * 128, 128 + photos * 8));
}

#[test]
fn a_run_is_not_overwritten_nor_resumed_with_other_settings() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    says(&pretrain(&run, &["--data", PHOTOS, "--steps", "1"]), 0, &[]);
    says(&pretrain(&run, &["--data", PHOTOS, "--steps", "1"]), 2, &["--resume", "--overwrite"]);
    let longer = pretrain(&run, &["--data", PHOTOS, "--steps", "2", "--resume"]);
    let command =
        format!("bootmae pretrain --init-from {0} --config {0}/config.toml --steps 2 --out {0}-longer", run.display());
    says(&longer, 6, &["training.steps: 1 against 2", "To train longer", if cfg!(unix) { &command } else { "" }]);
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    if cfg!(unix) {
        says(&bootmae(&[&words[..], adapter()].concat()), 0, &["step 2 of 2"]);
    }
    says(&pretrain(&run, &["--data", PHOTOS, "--steps", "1", "--resume"]), 0, &["step 1 of 1"]);
    // In less memory than the run has so far: what may change without changing its bits, or else a run of its own.
    let less = |mib: &str| pretrain(&run, &["--data", PHOTOS, "--steps", "1", "--resume", "--gpu-memory-mib", mib]);
    says(&less("1"), 4, &["this run needs", "A resumed run keeps its 1 parts of 4 images"]);
    let model = run.join("checkpoints/step-1/model.safetensors");
    let bytes = fs::read(&model).unwrap();
    fs::write(&model, &bytes[..bytes.len() / 2]).unwrap();
    let refused = pretrain(&run, &["--data", PHOTOS, "--steps", "1", "--resume"]);
    says(&refused, 6, &["model.safetensors", "no checkpoint is complete", "--overwrite"]);
}

#[test]
fn weights_of_another_run_are_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    says(&pretrain(&first, &["--data", PHOTOS, "--steps", "1"]), 0, &[]);
    let from = first.to_str().unwrap();
    // A run with next to no learning rate keeps the weights it starts from.
    let still = ["--data", PHOTOS, "--steps", "1", "--init-from", from, "--resume"];
    says(
        &pretrain_with("peak_learning_rate = 1e-30\n", &second, &still),
        0,
        &["starting from the beginning", "step 1 of 1"],
    );
    let values = |run: &Path| {
        let bytes = checkpoint(run, 1).remove("model.safetensors").unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        file.tensor("blocks.0.attn.qkv.weight").unwrap().data().to_vec()
    };
    assert!(values(&first) == values(&second), "the weights are not the first run's");
}

#[test]
fn a_corrupt_image_is_skipped_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).unwrap();
    for entry in fs::read_dir(PHOTOS).unwrap().map(|e| e.unwrap().path()).take(6) {
        fs::copy(&entry, photos.join(entry.file_name().unwrap())).unwrap();
    }
    fs::write(photos.join("broken.jpg"), b"not a picture").unwrap();
    let run = folder.path().join("run");
    says(&pretrain(&run, &["--data", photos.to_str().unwrap(), "--steps", "4"]), 0, &["skipped: ", "broken.jpg"]);
}

#[test]
fn unusable_images_exit_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, run) = (folder.path().join("empty"), folder.path().join("run"));
    fs::create_dir(&empty).unwrap();
    says(&pretrain(&run, &["--data", empty.to_str().unwrap(), "--steps", "1"]), 3, &["empty"]);
    says(&pretrain(&run, &["--data", "/no/such/folder", "--steps", "1"]), 3, &["/no/such/folder"]);
    fs::write(empty.join("a.png"), b"no").unwrap();
    says(&pretrain(&run, &["--data", empty.to_str().unwrap(), "--steps", "1"]), 3, &["a.png"]);
}

#[test]
fn wrong_settings_exit_with_2_and_name_the_near_one() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let out = out.to_str().unwrap();
    let start = ["pretrain", "--data", PHOTOS, "--out", out];
    let with = |rest: &[&str]| bootmae(&start.iter().chain(rest).copied().collect::<Vec<_>>());
    says(&with(&["--model", "tniy"]), 2, &["did you mean `tiny`"]);
    says(&with(&["--model", "nano", "--patch-size", "5"]), 2, &["patch_size 5 does not divide"]);
    let config = folder.path().join("c.toml");
    fs::write(&config, "[training]\nbatchsize = 3\n").unwrap();
    says(&with(&["--config", config.to_str().unwrap()]), 2, &["batchsize", "batch_size"]);
    says(&with(&["--steps", "0"]), 2, &["steps"]);
}

#[test]
fn a_folder_of_a_persons_own_is_refused_whatever_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let shoot = folder.path().join("shoot");
    for name in ["samples/a.png", "events/b.png", "checkpoints/notes.txt", "config.toml", "metrics.jsonl", "c.jpg"] {
        fs::create_dir_all(shoot.join(name).parent().unwrap()).unwrap();
        fs::write(shoot.join(name), "mine").unwrap();
    }
    let count = || fs::read_dir(&shoot).unwrap().count();
    let before = count();
    for flag in ["--overwrite", "--resume", "--no-tune"] {
        says(&pretrain(&shoot, &["--data", PHOTOS, "--steps", "1", flag]), 2, &["shoot", "c.jpg", "another --out"]);
        assert_eq!((count(), fs::read_to_string(shoot.join("config.toml")).unwrap()), (before, "mine".into()));
    }
}

#[test]
fn an_output_that_cannot_be_written_is_found_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    says(&pretrain(&file.join("run"), &["--data", PHOTOS, "--steps", "1"]), 6, &["file"]);
}

#[test]
fn without_an_adapter_the_way_to_a_driver_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_bootmae"))
        .args(["verify", FIXTURE])
        .env("VK_DRIVER_FILES", "/dev/null")
        .env("VK_ICD_FILENAMES", "/dev/null")
        .output()
        .unwrap();
    if cfg!(target_os = "linux") {
        says(&output, 4, &["no adapter found", "mesa-vulkan-drivers"]);
    }
    says(&bootmae(&["verify", FIXTURE, "--adapter", "no such adapter"]), 4, &["no such adapter"]);
    // Digits are an index, although most names hold some.
    says(&bootmae(&["verify", FIXTURE, "--adapter", "97"]), 4, &["no adapter matches `97`", "0: "]);
}

#[test]
fn verify_reports_json_and_refuses_a_damaged_fixture() {
    let output = bootmae(&["verify", FIXTURE, "--json"]);
    says(&output, 0, &[]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["kind"], &report["pass"]), (&"step".into(), &true.into()));
    for group in ["losses", "out", "grad", "after_adamw", "after_ema"] {
        assert!(report["groups"][group]["worst"].as_f64().unwrap() >= 0.0, "{group}");
        assert!(report["groups"][group]["tensor"].is_string(), "{group}");
    }
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(FIXTURE).unwrap();
    let damaged = folder.path().join("damaged.safetensors");
    for length in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&damaged, &bytes[..length]).unwrap();
        says(&bootmae(&["verify", damaged.to_str().unwrap()]), 6, &["damaged.safetensors"]);
    }
    // Another value in the answers: the check fails, without an error.
    let mut wrong = bytes;
    let last = wrong.len() - 1;
    wrong[last - 4000..].iter_mut().for_each(|b| *b ^= 0x10);
    fs::write(&damaged, &wrong).unwrap();
    assert_ne!(bootmae(&["verify", damaged.to_str().unwrap()]).status.code(), Some(0));
}

#[test]
fn doctor_and_bench_report_json() {
    let output = bootmae(&["doctor", "--json", "--adapter", "0", "--op", "layer_norm"]);
    says(&output, 0, &[]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["pass"].as_bool().unwrap() && report["adapters"][0]["operations"].as_array().unwrap().len() > 2);
    // Fine-tuning: a step of pretraining is timed in the page's check.
    let arguments = "bench --json --model nano --image-size 16 --batch-size 1 --steps 1 --adapter 0 --classes 3";
    let output = bootmae(&arguments.split(' ').collect::<Vec<_>>());
    says(&output, 0, &[]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["step_ms", "host_ms", "images_per_s", "gflops", "best_matmul_gflops", "best_copy_gbs", "peak_bytes"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert!(report["adapter"].is_string());
}

#[test]
fn a_plan_names_the_micro_batch_that_fits() {
    let plan =
        |mib: &str| bootmae(&["plan", "--model", "tiny", "--batch-size", "32", "--gpu-memory-mib", mib, "--json"]);
    let output = plan("300");
    says(&output, 0, &[]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let fit = &report["presets"][0]["fit"];
    let (size, count) = (fit["micro_batch"].as_u64().unwrap(), fit["micro_batches"].as_u64().unwrap());
    assert!(size < 32 && size * count == 32, "{fit}");
    says(&plan("20"), 1, &["one image at a time needs"]);

    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let tight = |mib| ["--data", PHOTOS, "--steps", "1", "--image-size", "64", "--gpu-memory-mib", mib];
    says(&pretrain(&run, &tight("7")), 4, &["this run needs", "--micro-batch auto"]);
    let auto = [&tight("7")[..], &["--micro-batch", "auto"]].concat();
    says(&pretrain(&run, &auto), 0, &["an update)"]);
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("batch_size = 4") && !config.contains("micro_batches = 1"), "{config}");
    // The same command line goes on with what was chosen.
    says(&pretrain(&run, &[&auto[..], &["--resume"]].concat()), 0, &["step 1 of 1"]);
    says(
        &pretrain(&folder.path().join("odd"), &["--data", PHOTOS, "--micro-batch", "3"]),
        2,
        &["divisor of the batch"],
    );
}
