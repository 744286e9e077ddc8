//! What is a run's own in its folder, and what is not.

use std::collections::BTreeMap;

use super::super::events::Events;
use super::*;
use crate::{
    checkpoint::record::Record,
    durable::faults,
    train::{
        metrics::{self, Metrics, MetricsLog},
        snapshot::sample,
    },
};

/// Files below a folder, with their contents.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let walk = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap());
    let of = |entry: walkdir::DirEntry| {
        let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
        (name, fs::read(entry.path()).unwrap())
    };
    walk.filter(|entry| entry.file_type().is_file()).map(of).collect()
}

fn write(folder: &Path, names: &[&str]) {
    for name in names {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
}

/// A picture as a run draws it.
fn picture() -> Vec<u8> {
    let config = crate::model::ModelConfig::preset("nano").unwrap();
    let (height, width) = (config.image_height, config.image_width);
    let panel = crate::report::picture::Panel { title: "a", rgb: &vec![9; height * width * 3] };
    let panels = [0; 5].map(|_| crate::report::picture::Panel { title: panel.title, rgb: panel.rgb });
    crate::report::picture::png(&crate::report::picture::compose(&panels, height, width, "c")).unwrap()
}

/// Does to a folder what a run of three steps does.
fn train(folder: &Path, entry: Entry) {
    let run = RunFolder::enter(folder, entry).unwrap();
    crate::report::log::TrainLog::open(folder).unwrap().note("begun");
    run.write_config(&sample(3).config).unwrap();
    let mut log = MetricsLog::open(&folder.join(metrics::FILE_NAME), 0).unwrap();
    let mut events = Events::open(folder, 0).unwrap();
    for step in 1..=3 {
        log.write(&Metrics { step, ..Metrics::default() }).unwrap();
        events.scalars(&Metrics { step, ..Metrics::default() }).unwrap();
        run.checkpoints().save(&sample(step), 2).unwrap();
    }
    assert!(Record::of(folder).claim("samples/step-3.png").unwrap());
    fs::create_dir_all(folder.join("samples")).unwrap();
    fs::write(folder.join("samples/step-3.png"), picture()).unwrap();
    crate::report::curves::draw(folder).unwrap();
    crate::report::page::write(folder).unwrap();
}

/// What a person may keep in a run's folders.
const MINE: [&str; 9] = [
    "notes.txt",
    "film.partial",
    "samples/step-4.png",
    "samples/best.png",
    "events/wedding.png",
    "events/events.out.tfevents.1700000000.000001",
    "checkpoints/notes.txt",
    "checkpoints/step-3/notes.txt",
    "checkpoints/best/model.safetensors",
];

#[test]
fn overwriting_removes_what_the_run_recorded_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&run, Entry::New);
    write(&run, &MINE);
    let entered = RunFolder::enter(&run, Entry::Overwrite).unwrap();
    assert!(entered.resume(None).unwrap().is_none());
    drop(entered);
    let mut left: Vec<String> = files(&run).into_keys().collect();
    left.retain(|name| name != "run.files" && name != LOCK_FILE);
    let mut mine = MINE.to_vec();
    mine.sort();
    assert_eq!(left, mine);
    // A run begins there, saves the step in whose folder the notes are, and is overwritten again.
    train(&run, Entry::Overwrite);
    let resumed = RunFolder::enter(&run, Entry::Resume).unwrap().resume(None).unwrap().unwrap();
    assert_eq!(resumed.snapshot, sample(3));
    let held = files(&run);
    MINE.iter().for_each(|name| assert_eq!(held[*name], b"mine", "{name}"));
}

#[test]
fn a_persons_files_that_are_named_as_a_runs_are_never_touched() {
    let folder = tempfile::tempdir().unwrap();
    let names =
        ["config.toml", "metrics.jsonl", "samples/step-3.png", "events/a.png", "checkpoints/notes.txt", "a.jpg"];
    for some in [
        &names[..],
        &names[..1],
        &names[1..2],
        &names[2..3],
        &["run.files"],
        &["run.lock"],
        &["curves.svg"],
        &["report.html"],
    ] {
        let place = tempfile::tempdir_in(folder.path()).unwrap();
        write(place.path(), some);
        let before = files(place.path());
        for entry in [Entry::New, Entry::Resume, Entry::Overwrite] {
            let error = RunFolder::enter(place.path(), entry).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{some:?}: {error}");
            assert_eq!(files(place.path()), before, "{entry:?} of {some:?}");
        }
    }
    // Also in a run's folder, where they came in the place of a run's.
    for name in ["config.toml", "metrics.jsonl", "curves.svg", "report.html"] {
        let run = folder.path().join(format!("run-{name}"));
        train(&run, Entry::New);
        write(&run, &[name]);
        let before = files(&run);
        for entry in [Entry::Resume, Entry::Overwrite] {
            let error = RunFolder::enter(&run, entry).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(name), "{error}");
            assert_eq!(files(&run), before, "{entry:?} with an own {name}");
        }
    }
}

#[test]
fn a_folder_in_which_a_run_wrote_nothing_yet_takes_another() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    drop(RunFolder::enter(&run, Entry::Resume).unwrap());
    train(&run, Entry::New);
    assert_eq!(RunFolder::enter(&run, Entry::New).unwrap_err().exit_code(), 2);
}

#[test]
fn settings_that_a_person_copied_from_a_run_are_no_run() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(CONFIG_FILE), sample(1).config.to_toml().unwrap()).unwrap();
    let before = files(folder.path());
    for entry in [Entry::New, Entry::Resume, Entry::Overwrite] {
        assert_eq!(RunFolder::enter(folder.path(), entry).unwrap_err().exit_code(), 2);
        assert_eq!(files(folder.path()), before);
    }
}

#[test]
fn a_run_of_an_older_program_is_known_by_what_its_files_hold() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&run, Entry::New);
    fs::remove_file(run.join("run.files")).unwrap();
    write(&run, &MINE);
    // It goes on, and from now on has a record.
    let resumed = RunFolder::enter(&run, Entry::Resume).unwrap().resume(None).unwrap().unwrap();
    assert_eq!(resumed.snapshot, sample(3));
    fs::remove_file(run.join("run.files")).unwrap();
    drop(RunFolder::enter(&run, Entry::Overwrite).unwrap());
    let mut left: Vec<String> = files(&run).into_keys().collect();
    left.retain(|name| name != "run.files" && name != LOCK_FILE);
    let mut mine = MINE.to_vec();
    mine.sort();
    assert_eq!(left, mine);
}

#[cfg(unix)]
#[test]
fn links_are_written_through_and_nothing_is_removed_through_them() {
    let folder = tempfile::tempdir().unwrap();
    let (run, disk) = (folder.path().join("run"), folder.path().join("disk"));
    for name in ["samples", "events", "checkpoints"] {
        write(&disk, &[&format!("{name}/mine.png")]);
        fs::create_dir_all(&run).unwrap();
    }
    drop(RunFolder::enter(&run, Entry::New).unwrap());
    for name in ["samples", "events", "checkpoints"] {
        let _ = fs::remove_dir(run.join(name));
        std::os::unix::fs::symlink(disk.join(name), run.join(name)).unwrap();
    }
    // Nothing of the run is there yet.
    train(&run, Entry::Overwrite);
    assert!(disk.join("checkpoints/step-3/MANIFEST.json").exists() && run.join("checkpoints").is_symlink());
    assert!(!disk.join("checkpoints/step-1").exists(), "the oldest of its own it removes");
    let before = files(&disk);
    let error = RunFolder::enter(&run, Entry::Overwrite).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("is a link"), "{error}");
    assert_eq!(files(&disk), before);
    assert_eq!(RunFolder::enter(&run, Entry::Resume).unwrap().resume(None).unwrap().unwrap().snapshot, sample(3));
    // A link in the place of a file stays, with what it leads to.
    let (run, kept) = (folder.path().join("other"), folder.path().join("kept.png"));
    train(&run, Entry::New);
    fs::rename(run.join("samples/step-3.png"), &kept).unwrap();
    std::os::unix::fs::symlink(&kept, run.join("samples/step-3.png")).unwrap();
    drop(RunFolder::enter(&run, Entry::Overwrite).unwrap());
    assert!(kept.exists() && run.join("samples/step-3.png").is_symlink() && !run.join(CONFIG_FILE).exists());
}

#[test]
fn a_record_leads_nowhere_outside_and_to_no_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&run, Entry::New);
    write(folder.path(), &["outside.txt", "run/photo.jpg", "run/samples/photo.png"]);
    let record = run.join("run.files");
    let absolute = folder.path().join("outside.txt");
    let more = format!("../outside.txt\n{}\nphoto.jpg\nsamples/photo.png\nsamples/../photo.jpg\n", absolute.display());
    let text = fs::read_to_string(&record).unwrap() + &more;
    // The last line was cut short when the process was killed.
    fs::write(&record, text + "checkpoints/step-3").unwrap();
    drop(RunFolder::enter(&run, Entry::Overwrite).unwrap());
    assert!(absolute.exists() && run.join("photo.jpg").exists() && run.join("samples/photo.png").exists());
    assert!(!run.join("checkpoints/step-3").exists() && !run.join("config.toml").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_system_without_locks_takes_a_run_and_one_that_fails_does_not() {
    let folder = tempfile::tempdir().unwrap();
    for code in [libc::ENOSYS, libc::ENOLCK, libc::EOPNOTSUPP, libc::EINVAL] {
        let run = folder.path().join(code.to_string());
        faults::refusing(crate::durable::Act::Lock, code, || drop(RunFolder::enter(&run, Entry::New).unwrap()));
    }
    let failed = faults::refusing(crate::durable::Act::Lock, libc::EIO, || {
        RunFolder::enter(&folder.path().join("eio"), Entry::New).map(drop)
    });
    assert_eq!(failed.unwrap_err().exit_code(), 6);
}
