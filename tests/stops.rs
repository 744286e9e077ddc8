//! Runs whose terminal closes, whose readers end, and which a scheduler asks to stop.
#![cfg(unix)]

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photos/train");

/// The quicker of the software adapters, where the tests are told that it is there.
fn adapter() -> &'static str {
    let expected = std::env::var("BOOTMAE_EXPECT_ADAPTERS").unwrap_or_default();
    if expected.contains("llvmpipe") { "llvmpipe" } else { "" }
}

/// A run of a very small network into `folder/NAME`, as a line for `sh`.
fn run(folder: &Path, name: &str, steps: u64) -> (Command, std::path::PathBuf) {
    let (config, out) = (folder.join("small.toml"), folder.join(name));
    let model =
        "[model]\npreset = \"nano\"\nimage_size = 16\nwidth = 32\ndepth = 2\nheads = 2\npixel_decoder_width = 32\n";
    fs::write(&config, model).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootmae"));
    command.args(["pretrain", "--data", PHOTOS, "--batch-size", "4", "--sample-every", "0", "--adapter", adapter()]);
    command.args(["--save-every", "100000", "--steps", &steps.to_string()]);
    command.arg("--out").arg(&out).arg("--config").arg(&config).env("BOOTMAE_NO_TUNE", "1");
    // The tests themselves may run under `nohup`.
    // SAFETY: `signal` may be called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_DFL);
            Ok(())
        });
    }
    (command, out)
}

fn lines(out: &Path) -> usize {
    fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
}

fn wait_for(out: &Path, count: usize) {
    let began = Instant::now();
    while lines(out) < count {
        assert!(began.elapsed() < Duration::from_secs(120), "no {count} steps in two minutes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn send(signal: &str, to: &Child) {
    assert!(Command::new("kill").args([signal, &to.id().to_string()]).status().unwrap().success());
}

/// What became of a run that was asked to stop; killed if it goes on for a minute.
fn ended(mut child: Child) -> Output {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

fn saved(out: &Path) -> bool {
    out.join("checkpoints/last").exists()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_scheduler_or_a_terminal_stops_a_run_with_its_state_saved() {
    let folder = tempfile::tempdir().unwrap();
    for signal in ["-USR1", "-HUP", "-XCPU"] {
        let (mut command, out) = run(folder.path(), signal.trim_start_matches('-'), 100_000);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&out, 2);
        send(signal, &child);
        if signal == "-USR1" {
            // Schedulers warn first and ask to stop later; terminals and shells both say that they close.
            ["-USR1", "-HUP", "-TERM"].iter().for_each(|signal| send(signal, &child));
        }
        let output = ended(child);
        assert_eq!(output.status.code(), Some(130), "{signal}: {}", told(&output));
        assert!(saved(&out) && told(&output).contains("--resume"), "{signal}: {}", told(&output));
    }
}

#[test]
fn a_file_in_its_folder_stops_a_run_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut command, out) = run(folder.path(), "run", 100_000);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&out, 2);
    fs::write(out.join("STOP"), "").unwrap();
    let output = ended(child);
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    assert!(saved(&out) && told(&output).contains("stopped by the file STOP"), "{}", told(&output));
    assert!(!out.join("STOP").exists(), "it would stop the run again");
}

#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let (command, out) = run(folder.path(), "run", 100_000);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    let child = shell.env("BOOTMAE_NO_TUNE", "1").stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&out, 2);
    send("-HUP", &child);
    wait_for(&out, lines(&out) + 20);
    send("-TERM", &child);
    let output = ended(child);
    assert!(output.status.code() == Some(130) && saved(&out), "{}", told(&output));
}

#[test]
fn a_run_goes_on_when_nothing_takes_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    // A reader that ends at once.
    let (mut command, out) = run(folder.path(), "unread", 4);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert!(child.wait().unwrap().success() && saved(&out));
    // A disk that is full.
    if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
        let (mut command, out) = run(folder.path(), "full", 4);
        let status = command.stdout(full.try_clone().unwrap()).stderr(full).status().unwrap();
        assert!(status.success() && saved(&out));
    }
    // No input and no outputs at all: the first files that are opened must not become them.
    let (command, out) = run(folder.path(), "closed", 4);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"]).arg(command.get_program()).args(command.get_args());
    assert!(shell.env("BOOTMAE_NO_TUNE", "1").status().unwrap().success() && saved(&out));
    assert!(fs::read_to_string(out.join("run.lock")).unwrap().trim().parse::<u32>().is_ok());
}
