//! Saves in processes that are killed, or whose disk is full. The state is made up, so no GPU is needed.
//!
//! `BOOTMAE_FAULTS=N` sets how many kills at random times there are, and with it every system call of a save is struck
//! instead of a few. The parts with `strace` say that they are skipped where that is missing or may not trace.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use bootmae::{
    checkpoint::Checkpoints,
    rng::{Rng, Stream},
    run::run_folder::{Entry, RunFolder},
    train::{
        config::RunConfig,
        snapshot::{MODEL, MOMENT1, MOMENT2, NamedTensor, Snapshot, TEACHER},
    },
};

/// Values in each of the four groups.
const VALUES: usize = 300_000;

/// The environment variable with which this program becomes the one that saves: `FOLDER FIRST LAST`.
const SAVES: &str = "BOOTMAE_TEST_SAVES";

fn snapshot(step: u64) -> Snapshot {
    let group = |(index, name): (u64, &&str)| {
        let mut rng = Rng::new(step, Stream::Augment, index, 0);
        let data = (0..VALUES).map(|_| rng.range(-1.0, 1.0) as f32).collect();
        let tensor = NamedTensor { name: "cls_token".into(), shape: vec![VALUES], data };
        (name.to_string(), vec![tensor])
    };
    let groups = (0..).zip(&[MODEL, TEACHER, MOMENT1, MOMENT2]).map(group).collect::<BTreeMap<_, _>>();
    Snapshot {
        step,
        config: RunConfig::preset("nano").unwrap(),
        adapter: "none".into(),
        tuning: None,
        left_out: Vec::new(),
        collection: None,
        groups,
    }
}

/// Not a test but the process that saves: each step it says that it will, saves, and says that it did.
#[test]
fn saving_process() {
    let Ok(task) = env::var(SAVES) else { return };
    let parts: Vec<&str> = task.split(' ').collect();
    let checkpoints = Checkpoints::of(Path::new(parts[0]));
    for step in parts[1].parse().unwrap()..=parts[2].parse().unwrap() {
        let snapshot = snapshot(step);
        match checkpoints.save(&snapshot, 2) {
            Ok(_) => println!("saved {step}"),
            Err(error) => {
                println!("error {error}");
                std::process::exit(error.exit_code().into());
            }
        }
    }
    std::process::exit(0);
}

/// The command that saves steps `first` to `last` into `run`, behind `before`.
fn saving(before: &[&str], run: &Path, first: u64, last: u64) -> Command {
    let program = env::current_exe().unwrap();
    let itself = [program.to_str().unwrap(), "saving_process", "--exact", "--nocapture", "--test-threads=1"];
    let words = [before, &itself].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env(SAVES, format!("{} {first} {last}", run.display()));
    command
}

fn faults() -> Option<usize> {
    env::var("BOOTMAE_FAULTS").ok().map(|count| count.parse().expect("BOOTMAE_FAULTS is a number"))
}

/// A run folder with checkpoints of steps 1 and 2.
fn begun(folder: &Path) -> PathBuf {
    let run = folder.join("run");
    let entered = RunFolder::enter(&run, Entry::New).unwrap();
    [1, 2].iter().for_each(|step| drop(entered.checkpoints().save(&snapshot(*step), 2).unwrap()));
    run
}

/// Enters the run as the next process does; the newest checkpoint must be whole, and nothing else is left over.
#[track_caller]
fn sound(run: &Path, told: u64, what: &str) -> u64 {
    let entered = RunFolder::enter(run, Entry::Resume).unwrap();
    let resumed = entered.resume(None).unwrap().expect("a checkpoint");
    let step = resumed.snapshot.step;
    assert!(resumed.snapshot == snapshot(step), "{what}: step {step} has other bits");
    assert!(step >= told, "{what}: step {told} was saved, the newest checkpoint is of step {step}");
    assert!(resumed.remarks.is_empty(), "{what}: {:?}", resumed.remarks);
    let names = fs::read_dir(run.join("checkpoints")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let litter: Vec<String> = names.filter(|name| name != "last" && !name.starts_with("step-")).collect();
    assert!(litter.is_empty(), "{what}: {litter:?}");
    step
}

#[test]
fn a_process_killed_at_random_times_loses_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let run = begun(folder.path());
    let mut rng = Rng::new(7, Stream::Augment, 0, 0);
    let (mut step, mut interrupted) = (2, 0);
    let count = faults().unwrap_or(15);
    for kill in 0..count {
        let mut child = saving(&[], &run, step + 1, step + 1000).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // The process is up once it has saved; from there on any moment will do.
        lines.by_ref().find(|line| line.starts_with("saved"));
        std::thread::sleep(Duration::from_micros((rng.range(0.0, 1.0) * 80_000.0) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        let told = lines.filter_map(|line| line.strip_prefix("saved ")?.parse().ok()).last().unwrap_or(step + 1);
        let partial = |entry: fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".partial");
        interrupted += usize::from(fs::read_dir(run.join("checkpoints")).unwrap().flatten().any(partial));
        step = sound(&run, told, &format!("kill {kill}"));
    }
    eprintln!("{count} kills, {interrupted} of them within a save; {step} steps saved");
    assert!(interrupted > 0 || count < 100, "no kill of {count} met a save");
}

const CALLS: [&str; 6] = ["openat", "write", "fsync", "rename", "mkdir", "unlinkat"];

/// Whether there is a strace that may trace; says so where there is none.
fn strace() -> bool {
    let works = Command::new("strace").args(["-qq", "-e", "trace=none", "true"]).status().is_ok_and(|s| s.success());
    if !works {
        eprintln!("skipped: no working strace; scripts/install-test-deps.sh installs it");
    }
    works
}

/// Saves step 3 with the n-th `call` of the process struck by `fault`. None where there are fewer calls.
fn struck(run: &Path, log: &Path, call: &str, n: usize, fault: &str) -> Option<Output> {
    let inject = format!("inject={call}:{fault}:when={n}");
    let before = ["strace", "-f", "-qq", "-o", log.to_str().unwrap(), "-e", &format!("trace={call}"), "-e", &inject];
    let output = saving(&before, run, 3, 3).output().unwrap();
    let text = fs::read_to_string(log).unwrap();
    (text.contains("(INJECTED)") || text.contains("killed by SIGKILL")).then_some(output)
}

#[test]
fn no_system_call_of_a_save_can_fail_or_be_the_last_and_lose_a_checkpoint() {
    if !strace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("strace.log");
    let (mut kills, mut errors, mut told_of) = (0, 0, 0);
    for call in CALLS {
        let kinds = ["signal=KILL", "error=ENOSPC", "error=EIO", "error=EDQUOT"];
        for fault in &kinds[..if faults().is_some() { 4 } else { 2 }] {
            // All of them, or every fifth, until there are no more.
            for n in (1..).step_by(if faults().is_some() { 1 } else { 5 }) {
                let whole = tempfile::tempdir_in(folder.path()).unwrap();
                let run = begun(whole.path());
                let what = format!("{fault} at {call} {n}");
                let Some(output) = struck(&run, &log, call, n, fault) else {
                    assert_eq!(sound(&run, 3, &what), 3);
                    break;
                };
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let step = sound(&run, if text.contains("saved 3") { 3 } else { 2 }, &what);
                if *fault == "signal=KILL" {
                    kills += 1;
                    assert_eq!(output.status.code(), None, "{what}: {text}");
                } else {
                    errors += 1;
                    told_of += usize::from(text.contains("error "));
                    // Calls before the first save are the test program's; those of a save end it with code 6.
                    if text.contains("error ") {
                        assert_eq!(output.status.code(), Some(6), "{what}: {text}");
                        assert!(text.contains("(os error ") && text.contains("--resume"), "{what}: {text}");
                    }
                }
                // Nothing stands in the way of the save after it.
                let next = step + 1;
                Checkpoints::of(&run).save(&snapshot(next), 2).unwrap();
                assert_eq!(sound(&run, next, &what), next);
            }
        }
    }
    eprintln!("{kills} kills at a system call, {errors} failed calls, {told_of} of them told of by a save");
    assert!(kills > CALLS.len() && told_of > CALLS.len());
}

#[test]
fn files_are_flushed_before_the_folder_its_name_and_its_parent() {
    if !strace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (run, log) = (begun(folder.path()), folder.path().join("strace.log"));
    let before = ["strace", "-f", "-qq", "-y", "-o", log.to_str().unwrap(), "-e", "trace=fsync,rename"];
    assert!(saving(&before, &run, 3, 3).output().unwrap().status.success());
    let text = fs::read_to_string(&log).unwrap();
    let place = run.canonicalize().unwrap().display().to_string() + "/";
    let calls: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let (call, rest) = line.split_once(' ')?.1.trim().split_once('(')?;
            let paths = rest.split(['<', '>', '"']).filter(|part| part.contains('/'));
            let paths: Vec<&str> = paths.map(|path| path.strip_prefix(&place).unwrap_or(path)).collect();
            Some(format!("{call} {}", paths.join(" to ")))
        })
        .collect();
    let part = |name| format!("fsync checkpoints/step-3.partial{name}");
    let expected = [
        "fsync run.files".into(),
        part("/model.safetensors"),
        part("/teacher.safetensors"),
        part("/optimizer.safetensors"),
        part("/state.json"),
        part("/MANIFEST.json"),
        part(""),
        "rename checkpoints/step-3.partial to checkpoints/step-3".into(),
        "fsync checkpoints".into(),
        "fsync checkpoints/last.partial".into(),
        "rename checkpoints/last.partial to checkpoints/last".into(),
        "fsync checkpoints".into(),
        "rename checkpoints/step-1 to checkpoints/step-1.partial".into(),
    ];
    assert_eq!(calls, expected, "{text}");
}
