//! Training, validation and test parts of a collection, told by the names of files and folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::names::Names;

/// A part's name, and what people call it.
static PARTS: [(&str, &[&str]); 3] = [
    (TRAIN, &["train", "training", "trainset", "trn", "traina", "trainb"]),
    (
        "validation",
        &["val", "valid", "validation", "validate", "valset", "minival", "dev", "eval", "evaluation", "vala", "valb"],
    ),
    ("test", &["test", "testing", "testset", "tst", "holdout", "heldout", "testa", "testb"]),
];

const TRAIN: &str = "train";

/// The parts to test on, the better first: a test part may come without its labels.
const HELD: [&str; 2] = ["validation", "test"];

/// How MNIST's test files begin.
const TEN_THOUSAND: &str = "t10k";

/// The part that the words of a name say, the first of them that says one.
fn part_of(name: &str) -> Option<&'static str> {
    if name.starts_with(TEN_THOUSAND) {
        return Some(HELD[1]);
    }
    words(name).find_map(|word| {
        let part = PARTS.iter().find(|(_, words)| words.iter().any(|known| known.eq_ignore_ascii_case(word)));
        part.map(|(part, _)| *part)
    })
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty())
}

/// The part that a folder is, if it is named for nothing else: `train`, `val2017`, `split=test`, `train_images`.
fn part_of_folder(name: &str) -> Option<&'static str> {
    part_of(name).filter(|_| words(name).count() <= 2)
}

/// The part that a file below a folder belongs to: to go by its own name, else by the nearest folder that says one.
fn part_of_path(path: &Path) -> Option<&'static str> {
    let own = path.file_stem().and_then(|stem| part_of(&stem.to_string_lossy()));
    let folders = path.ancestors().skip(1).filter_map(Path::file_name);
    own.or_else(|| folders.map(|name| part_of_folder(&name.to_string_lossy())).find(Option::is_some)?)
}

/// How many of the paths are of each part, in words.
fn counted(parts: impl Iterator<Item = Option<&'static str>>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    parts.for_each(|part| *counts.entry(part.unwrap_or("no part")).or_default() += 1);
    let counts: Vec<String> = counts.iter().map(|(part, n)| format!("{part} {n}")).collect();
    counts.join(", ")
}

/// Of the shards found below a folder those that are for training: of the part `train` where there is one, else those
/// that are of no part, else all; then of the configuration `default` where there is one among several. What is
/// decided is noted.
pub(super) fn training(root: &Path, mut shards: Vec<PathBuf>, notes: &mut Vec<String>) -> Vec<PathBuf> {
    let below = |path: &PathBuf| path.strip_prefix(root).unwrap_or(path).to_owned();
    let part = |path: &PathBuf| part_of_path(&below(path));
    let (all, place) = (shards.len(), root.display());
    let wanted = [Some(TRAIN), None].into_iter().find(|wanted| shards.iter().any(|path| part(path) == *wanted));
    match wanted {
        Some(wanted) if !shards.iter().all(|path| part(path) == wanted) => {
            let left = counted(shards.iter().map(part).filter(|part| *part != wanted));
            shards.retain(|path| part(path) == wanted);
            let what = wanted.map_or("are of no other part".into(), |part| format!("are of the part `{part}`"));
            notes.push(format!(
                "of the {all} files in {place} only the {} that {what} are taken; left: {left}",
                shards.len()
            ));
        }
        Some(_) => {}
        None if all > 0 => notes
            .push(format!("none of the {all} files in {place} is for training: {}", counted(shards.iter().map(part)))),
        None => {}
    }
    configuration(root, &mut shards, notes);
    shards
}

/// Leaves the shards of the configuration `default`, where there is one among several; what is decided is noted.
fn configuration(root: &Path, shards: &mut Vec<PathBuf>, notes: &mut Vec<String>) {
    let place = root.display();
    let folder = |path: &PathBuf| {
        let mut folder = PathBuf::new();
        let parents = path.strip_prefix(root).unwrap_or(path);
        let names = parents.parent().into_iter().flat_map(Path::iter);
        folder.extend(names.filter(|name| part_of_folder(&name.to_string_lossy()).is_none()));
        folder
    };
    let mut folders: BTreeMap<PathBuf, usize> = BTreeMap::new();
    shards.iter().for_each(|path| *folders.entry(folder(path)).or_default() += 1);
    if folders.len() > 1 {
        let named: Vec<String> = folders.iter().map(|(name, n)| format!("{} {n}", shown_folder(name))).collect();
        let named = match named.len() {
            ..=5 => named.join(", "),
            more => format!("{} and {} more", named[..5].join(", "), more - 5),
        };
        let default = folders.keys().find(|name| name.file_name().is_some_and(|name| name == "default")).cloned();
        match default {
            Some(default) => {
                shards.retain(|path| folder(path) == default);
                let taken = shown_folder(&default);
                notes.push(format!("{place} has several configurations ({named}); only {taken} is taken"));
            }
            None => {
                notes.push(format!("files of several folders of {place} are taken: {named}; name one to take it alone"))
            }
        }
    }
}

/// Of shards found below a folder, or of files that a person named (`root` is none), those for training, and those for
/// validation or else for testing; none where there are not both.
pub(super) fn side_files(root: Option<&Path>, shards: &[PathBuf]) -> Option<[Vec<PathBuf>; 2]> {
    let part = |path: &&PathBuf| {
        let below = root.and_then(|root| path.strip_prefix(root).ok());
        part_of_path(below.unwrap_or(path))
    };
    let of = |wanted| {
        let mut files: Vec<PathBuf> = shards.iter().filter(|path| part(path) == Some(wanted)).cloned().collect();
        if let Some(root) = root {
            configuration(root, &mut files, &mut Vec::new());
        }
        files
    };
    let sides = [of(TRAIN), HELD.into_iter().map(of).find(|files| !files.is_empty())?];
    (!sides[0].is_empty()).then_some(sides)
}

/// The folders directly below `root` that hold what to train on and what to test on; none where there are not both.
///
/// # Errors
/// In words, with the places: several folders are of one part.
pub(super) fn side_folders(root: &Path) -> Result<Option<[PathBuf; 2]>, String> {
    let Ok(entries) = std::fs::read_dir(root) else { return Ok(None) };
    let folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    let of = |wanted| {
        let part = |path: &&PathBuf| part_of_folder(&path.file_name()?.to_string_lossy());
        let mut found: Vec<&PathBuf> = folders.iter().filter(|path| part(path) == Some(wanted)).collect();
        found.sort();
        found
    };
    let train = of(TRAIN);
    let Some(held) = HELD.into_iter().map(of).find(|found| !found.is_empty()) else { return Ok(None) };
    match (&train[..], &held[..]) {
        ([], _) => Ok(None),
        ([train], [held]) => Ok(Some([(*train).clone(), (*held).clone()])),
        ([first, second, ..], _) | (_, [first, second, ..]) => {
            let [first, second] = [first, second].map(|path| path.display().to_string());
            Err(format!("{first} and {second} are of one part; name the folders to train and to test on"))
        }
        (_, []) => unreachable!("found above"),
    }
}

/// Whether a folder of this name is a part of a data set, if [`side_by_side`] holds of it and those beside it.
pub(super) fn is_part(folder: &[u8]) -> bool {
    std::str::from_utf8(folder).is_ok_and(|name| part_of_folder(name).is_some())
}

/// Whether folders of these names are a data set's parts: one is for training and another is not.
pub(super) fn side_by_side<'n>(folders: impl Iterator<Item = &'n [u8]>) -> bool {
    let parts: Vec<_> = folders.filter_map(|name| part_of_folder(std::str::from_utf8(name).ok()?)).collect();
    parts.contains(&TRAIN) && parts.iter().any(|part| *part != TRAIN)
}

fn shown_folder(name: &Path) -> String {
    if name.as_os_str().is_empty() { ".".into() } else { name.display().to_string() }
}

/// A remark where files that a person named are of several parts.
pub(super) fn mixed_files(paths: &[PathBuf]) -> Option<String> {
    let parts: Vec<_> = paths.iter().map(|path| part_of(&path.file_stem()?.to_string_lossy())).collect();
    let mixed = parts.contains(&Some(TRAIN)) && parts.iter().any(|part| *part != Some(TRAIN));
    mixed.then(|| format!("the files named are not of the part `train` alone: {}", counted(parts.into_iter())))
}

/// A remark where images lie in folders named for several parts side by side, such as `train` and `val`. The names are
/// paths in order; `root` is what the folder that holds them is called, if it is one and no archive.
pub(super) fn mixed_folders(names: &Names, root: Option<&str>) -> Option<String> {
    // The folders that are parts, and how many images they hold.
    let mut parts: BTreeMap<String, (&'static str, usize)> = BTreeMap::new();
    // Images of one folder come one after the other.
    let mut last: (&[u8], Option<(String, &'static str)>) = (b"", None);
    for index in 0..names.len() {
        let name = names.get(index);
        let folder = &name[..name.iter().rposition(|&byte| is_separator(byte)).unwrap_or(0)];
        if folder != last.0 {
            last = (folder, outermost_part(folder));
        }
        if let Some((path, part)) = &last.1 {
            match parts.get_mut(path) {
                Some((_, count)) => *count += 1,
                None => drop(parts.insert(path.clone(), (*part, 1))),
            }
        }
    }
    let parent = |folder: &str| folder.rfind(|c: char| std::path::is_separator(c)).map_or(0, |at| at);
    for (train, (_, count)) in parts.iter().filter(|(_, (part, _))| *part == TRAIN) {
        let beside = parts
            .iter()
            .filter(|(other, (part, _))| *part != TRAIN && other[..parent(other)] == train[..parent(train)]);
        let beside: Vec<String> = beside.map(|(other, (_, n))| format!("{other} {n}")).collect();
        if !beside.is_empty() {
            let one = root.map_or("unpack it to take one".into(), |root| format!("{root}/{train} takes one"));
            let beside = beside.join(", ");
            return Some(format!(
                "the images of {train} ({count}) and of what lies beside it ({beside}) are all taken; {one}"
            ));
        }
    }
    None
}

/// The outermost of a folder and those that hold it that is a part, by its path.
fn outermost_part(folder: &[u8]) -> Option<(String, &'static str)> {
    let folder = std::str::from_utf8(folder).ok()?;
    let mut start = 0;
    let mut ends = folder.match_indices(std::path::is_separator).map(|(at, _)| at).chain([folder.len()]);
    ends.find_map(|end| {
        let part = part_of_folder(&folder[start..end]);
        start = end + 1;
        part.map(|part| (folder[..end].to_owned(), part))
    })
}

fn is_separator(byte: u8) -> bool {
    std::path::is_separator(char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(paths: &[&str]) -> (Vec<String>, Vec<String>) {
        let (root, mut notes) = (Path::new("/set"), Vec::new());
        let shards = training(root, paths.iter().map(|path| root.join(path)).collect(), &mut notes);
        let below = |path: &PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        (shards.iter().map(below).collect(), notes)
    }

    #[test]
    fn of_files_with_parts_those_for_training_are_taken() {
        for (paths, first) in [
            ("default/test/0.parquet default/train/0.parquet default/validation/0.parquet", 1),
            ("data/test-0.parquet data/train-0.parquet", 1),
            ("split=test/0.parquet split=train/0.parquet", 1),
            ("imagenet-train-0000.tar imagenet-val-0000.tar", 0),
            ("train2017/0.tar val2017/0.tar dev/0.tar", 0),
            ("partial-train/0.parquet test/0.parquet", 0),
            ("shard-0.tar val-0.tar", 0),
            ("train/0.tar train/test-0.tar", 0),
        ] {
            let paths: Vec<&str> = paths.split(' ').collect();
            let (found, notes) = taken(&paths);
            assert_eq!(found, [paths[first]], "{paths:?}");
            assert!(notes.len() == 1 && notes[0].contains("only the 1 that are of"), "{notes:?}");
        }
        let (found, notes) = taken(&["test/0.parquet", "validation/0.parquet"]);
        assert!(found.len() == 2 && notes[0].contains("is for training: test 1, validation 1"), "{notes:?}");
        for plain in [&["0.tar", "1.tar"][..], &["train-0.tar", "train-1.tar"], &["contest-0.tar", "trains-0.tar"], &[]]
        {
            assert_eq!(taken(plain).0, plain);
            assert!(taken(plain).1.is_empty(), "{plain:?}");
        }
    }

    #[test]
    fn of_several_configurations_the_default_one_is_taken() {
        let (found, notes) = taken(&["default/train/0.parquet", "small/train/0.parquet"]);
        assert_eq!(found, ["default/train/0.parquet"]);
        assert!(notes[0].contains("(default 1, small 1); only default is taken"), "{notes:?}");
        let (found, notes) = taken(&["de/train/0.parquet", "en/test/0.parquet", "en/train/0.parquet"]);
        assert_eq!(found, ["de/train/0.parquet", "en/train/0.parquet"]);
        assert!(notes[1].contains("are taken: de 1, en 1; name one"), "{notes:?}");
    }

    #[test]
    fn files_to_train_and_to_test_on_are_told_apart() {
        let sides = |paths: &str| {
            let paths: Vec<PathBuf> = paths.split(' ').map(|path| Path::new("/set").join(path)).collect();
            let sides = side_files(Some(Path::new("/set")), &paths)?;
            Some(sides.map(|side| side.iter().map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>()))
        };
        let two =
            |paths, train: &str, test: &str| assert_eq!(sides(paths), Some([vec![train.into()], vec![test.into()]]));
        two("train-0.tar validation-0.tar test-0.tar", "train-0.tar", "validation-0.tar");
        two("data/test-0.parquet data/train-0.parquet", "train-0.parquet", "test-0.parquet");
        two("default/train/0.tar small/train/1.tar default/test/2.tar", "0.tar", "2.tar");
        two(
            "train-images-idx3-ubyte t10k-images-idx3-ubyte.gz",
            "train-images-idx3-ubyte",
            "t10k-images-idx3-ubyte.gz",
        );
        assert_eq!([sides("train-0.tar train-1.tar"), sides("a.tar b.tar"), sides("val-0.tar")], [None, None, None]);
    }

    #[test]
    fn folders_to_train_and_to_test_on_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let add = |name: &str| std::fs::create_dir(root.path().join(name)).unwrap();
        add("train");
        add("notes");
        assert_eq!(side_folders(root.path()), Ok(None));
        add("test");
        let sides = |names: [&str; 2]| Ok(Some(names.map(|name| root.path().join(name))));
        assert_eq!(side_folders(root.path()), sides(["train", "test"]));
        add("valid");
        assert_eq!(side_folders(root.path()), sides(["train", "valid"]));
        add("val2017");
        assert!(side_folders(root.path()).unwrap_err().contains("are of one part"));
        let beside = |names: &[&str]| side_by_side(names.iter().map(|name| name.as_bytes()));
        assert!(beside(&["train", "val", "x"]) && !beside(&["train", "truck"]) && !beside(&["test", "val"]));
    }

    #[test]
    fn images_in_folders_of_several_parts_are_told() {
        let remark = |paths: &[&str]| {
            let mut names = Names::default();
            paths.iter().for_each(|path| names.push(path.as_bytes()));
            mixed_folders(&names, Some("/set"))
        };
        let told = remark(&["a/train/x/1.png", "a/train/y/2.png", "a/val/x/3.png"]).unwrap();
        assert!(
            told.contains("a/train (2) and of what lies beside it (a/val 1)") && told.contains("/set/a/train takes"),
            "{told}"
        );
        for plain in
            [&["train/1.png", "truck/2.png"][..], &["val/1.png"], &["a/train/1.png", "b/val/1.png"], &["1.png"]]
        {
            assert_eq!(remark(plain), None, "{plain:?}");
        }
    }

    #[test]
    fn files_of_several_parts_named_by_a_person_are_told() {
        let told = |names: &[&str]| mixed_files(&names.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert!(told(&["train-0.tar", "test-0.tar", "test-1.tar"]).unwrap().contains("test 2, train 1"));
        assert_eq!((told(&["train-0.tar"]), told(&["a.tar", "b.tar"]), told(&["test-0.tar"])), (None, None, None));
    }
}
