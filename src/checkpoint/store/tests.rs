//! Saves that are killed or find the disk full at every act, damage, and the reading of what is left.

use std::io::Write;

use super::super::{MODEL_FILE, manifest, read_model};
use super::*;
use crate::{
    durable::{
        Act,
        faults::{self, Fault},
    },
    train::snapshot::sample,
};

fn run() -> (tempfile::TempDir, Checkpoints) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::of(folder.path());
    checkpoints.prepare().unwrap();
    (folder, checkpoints)
}

/// The names in the checkpoints' folder, in order.
fn names(checkpoints: &Checkpoints) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(checkpoints.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn newest(checkpoints: &Checkpoints) -> Snapshot {
    checkpoints.newest().unwrap().expect("a complete checkpoint").snapshot
}

#[test]
fn a_saved_checkpoint_reads_back_as_it_was() {
    let (folder, checkpoints) = run();
    assert!(checkpoints.newest().unwrap().is_none());
    let path = checkpoints.save(&sample(12), 2).unwrap();
    assert_eq!(read(&path).unwrap(), sample(12));
    assert_eq!(newest(&checkpoints), sample(12));
    assert_eq!(fs::read_to_string(checkpoints.folder().join(LAST)).unwrap(), "step-12\n");
    for place in [folder.path(), &path, &path.join(MODEL_FILE)] {
        let model = read_model(place).unwrap();
        assert_eq!((model.step, &model.tensors[..]), (12, sample(12).group("model")), "{}", place.display());
    }
    let refusal = read_model(&path.join("optimizer.safetensors")).unwrap_err().to_string();
    assert!(refusal.contains("give model.safetensors"), "{refusal}");
    let bytes = fs::read(path.join(MODEL_FILE)).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("norm.weight").unwrap().shape(), &[3], "other readers of safetensors accept the file");
}

#[test]
fn the_oldest_go_once_the_new_one_is_on_the_disk() {
    let (_folder, checkpoints) = run();
    [6, 12, 18, 100].iter().for_each(|step| drop(checkpoints.save(&sample(*step), 2).unwrap()));
    assert_eq!(names(&checkpoints), [LAST, "step-100", "step-18"]);
    let (_, acts) = faults::with(None, || checkpoints.save(&sample(106), 2).unwrap());
    let removal = acts.iter().position(|act| *act == Act::Remove).unwrap();
    let flushed = acts.iter().position(|act| *act == Act::SyncFolder).unwrap();
    assert!(acts[..removal].iter().filter(|act| **act == Act::SyncFolder).count() == 3 && flushed < removal);
    // Each file is flushed before the folder, the folder before the name, the name before its parent.
    let file = [Act::Create, Act::Write, Act::SyncFile];
    let place = [
        &[Act::Append, Act::SyncFile, Act::MakeFolder][..],
        &file.repeat(5),
        &[Act::SyncFolder, Act::Rename, Act::SyncFolder],
    ]
    .concat();
    let last = [&file[..], &[Act::Rename, Act::SyncFolder]].concat();
    assert_eq!(acts, [&place[..], &last, &[Act::Rename, Act::Remove]].concat());
}

/// Every act of a save that replaces the older of two checkpoints is struck once.
#[test]
fn no_fault_at_any_act_of_a_save_loses_a_checkpoint_or_leaves_work_to_do() {
    let count = {
        let (_folder, checkpoints) = run();
        [1, 2].iter().for_each(|step| drop(checkpoints.save(&sample(*step), 2).unwrap()));
        faults::with(None, || checkpoints.save(&sample(3), 2).unwrap()).1.len()
    };
    for (at, fault) in (0..count).flat_map(|at| [(at, Fault::Kill), (at, Fault::DiskFull)]) {
        let (_folder, checkpoints) = run();
        [1, 2].iter().for_each(|step| drop(checkpoints.save(&sample(*step), 2).unwrap()));
        let (result, acts) = faults::with(Some((at, fault)), || checkpoints.save(&sample(3), 2));
        let told = result.unwrap_err();
        if fault == Fault::DiskFull {
            let text = told.to_string();
            assert!(text.contains("saving step 3 failed") && text.contains("--resume"), "{text}");
            assert_eq!(told.exit_code(), 6);
            // The last act removes what is old; what stays there has the name of litter.
            let litter = names(&checkpoints).iter().any(|name| name.ends_with(".partial"));
            assert!(!litter || acts.get(at) == Some(&Act::Remove), "litter after a full disk at act {at}");
        }
        // The next start.
        checkpoints.prepare().unwrap();
        let found = newest(&checkpoints);
        assert_eq!(found, sample(found.step), "{fault:?} at act {at}");
        assert!(found.step >= 2 && !names(&checkpoints).iter().any(|name| name.ends_with(".partial")));
        if found.step == 2 {
            checkpoints.save(&sample(3), 2).unwrap();
        }
        checkpoints.save(&sample(4), 2).unwrap();
        assert_eq!(names(&checkpoints), [LAST, "step-3", "step-4"], "{fault:?} at act {at}");
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_named() {
    let whole = |checkpoints: &Checkpoints| {
        [1, 2].iter().for_each(|step| drop(checkpoints.save(&sample(*step), 3).unwrap()));
    };
    let files = ["model.safetensors", "teacher.safetensors", "optimizer.safetensors", "state.json", manifest::FILE];
    for name in files {
        type Damage = fn(&Path);
        let damage: [(&str, Damage); 4] = [
            ("missing", |path| fs::remove_file(path).unwrap()),
            ("cut short", |path| {
                let bytes = fs::read(path).unwrap();
                fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
            }),
            ("longer", |path| fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"x").unwrap()),
            ("flipped", |path| {
                let mut bytes = fs::read(path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, bytes).unwrap();
            }),
        ];
        for (kind, damage) in damage {
            let (_folder, checkpoints) = run();
            whole(&checkpoints);
            damage(&checkpoints.path(2).join(name));
            let found = checkpoints.newest().unwrap().unwrap();
            assert_eq!((found.snapshot, found.passed_over.len()), (sample(1), 1), "{kind} {name}");
            // A damaged manifest may accuse the file whose entry it garbles.
            assert!(found.passed_over[0].contains("step-2"), "{kind} {name}: {:?}", found.passed_over);
            assert!(name == manifest::FILE || found.passed_over[0].contains(name), "{kind}: {:?}", found.passed_over);
            damage(&checkpoints.path(1).join(name));
            let error = checkpoints.newest().unwrap_err().to_string();
            assert!(error.contains("step-1") && error.contains("step-2") && error.contains("--overwrite"), "{error}");
        }
    }
}

#[test]
fn another_version_is_refused_with_both_named() {
    let (_folder, checkpoints) = run();
    let path = checkpoints.save(&sample(1), 1).unwrap().join(manifest::FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"version\": 2", "\"version\": 3")).unwrap();
    let error = checkpoints.newest().unwrap_err().to_string();
    assert!(error.contains("checkpoint version 3; this program reads versions 1 and 2"), "{error}");
}

#[test]
fn files_of_others_among_checkpoints_stay_and_stand_in_no_saves_way() {
    let (folder, checkpoints) = run();
    let at = |name: &str| folder.path().join("checkpoints").join(name);
    fs::create_dir_all(at("step-1.partial")).unwrap();
    fs::create_dir_all(at("step-5")).unwrap();
    for name in ["notes.txt", "film.partial", "step-1.partial/mine", "step-5/mine", "step-5/model.safetensors.bak"] {
        fs::write(at(name), "mine").unwrap();
    }
    checkpoints.save(&sample(2), 1).unwrap();
    fs::write(at("step-2/notes.txt"), "mine").unwrap();
    for step in [3, 5, 7, 9] {
        checkpoints.save(&sample(step), 1).unwrap();
        assert_eq!(newest(&checkpoints), sample(step));
    }
    checkpoints.prepare().unwrap();
    let mine = ["notes.txt", "film.partial", "step-1.partial/mine", "step-5/mine", "step-5/model.safetensors.bak"];
    for name in mine.into_iter().chain(["step-2/notes.txt"]) {
        assert_eq!(fs::read_to_string(at(name)).unwrap(), "mine", "{name}");
    }
    assert_eq!(checkpoints.steps(), [9], "what is left of steps 2 and 5 is no checkpoint");
    // A checkpoint that someone put there is no file of the run, even where it is one of the oldest.
    write(&sample(1), &{
        fs::create_dir(at("step-1")).unwrap();
        at("step-1")
    })
    .unwrap();
    checkpoints.save(&sample(10), 1).unwrap();
    assert_eq!(checkpoints.steps(), [1, 10]);
    assert!(checkpoints.save(&sample(1), 9).unwrap_err().to_string().contains("no file of this run"));
}

#[test]
fn earlier_ones_set_aside_make_room_and_files_among_them_stay() {
    let (_folder, checkpoints) = run();
    let aside = checkpoints.folder().join("step-6.set-aside");
    for round in 0..3 {
        [4, 6].iter().for_each(|step| drop(checkpoints.save(&sample(*step), 9).unwrap()));
        let name = checkpoints.set_aside_after(4).unwrap().remove(0);
        assert_eq!(name, if round < 2 { "step-6.set-aside" } else { "step-6.set-aside-2" });
        if round == 1 {
            fs::write(aside.join("mine"), "mine").unwrap();
        }
        checkpoints.set_aside_after(0).unwrap();
    }
    assert!(aside.join("mine").exists());
}

#[test]
fn later_checkpoints_are_set_aside_not_lost() {
    let (_folder, checkpoints) = run();
    [6, 12, 18].iter().for_each(|step| drop(checkpoints.save(&sample(*step), 9).unwrap()));
    assert_eq!(checkpoints.set_aside_after(6).unwrap(), ["step-12.set-aside", "step-18.set-aside"]);
    assert_eq!(newest(&checkpoints), sample(6));
    checkpoints.save(&sample(12), 9).unwrap();
    assert_eq!(names(&checkpoints), [LAST, "step-12", "step-12.set-aside", "step-18.set-aside", "step-6"]);
}
