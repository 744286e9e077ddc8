//! Which files in a run folder are the run's own: the record that it keeps of what it creates, and what its files look
//! like. Whatever is not its own is neither removed nor replaced.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::{
    checkpoint::{self, CHECKPOINT_FILES, SINGLE_FILE},
    config::RunConfig,
    curves,
    durable::{append_synced, lacks, remove_file, remove_folder, rename, sync_folder, write_atomically},
    events, log, metrics, picture,
    run_folder::CONFIG_FILE,
    samples,
};
use crate::error::{Error, Result};

/// The record's name inside a run folder.
pub const FILE_NAME: &str = "run.files";

/// The record's first line; each further one is a path inside the run folder, written before the file is created.
const HEAD: &str = "files of a bootmae run, version 1\n";

/// The folder of the checkpoints inside a run folder.
pub const CHECKPOINTS: &str = "checkpoints";

/// The folders of a run.
pub const FOLDERS: [&str; 3] = [CHECKPOINTS, samples::FOLDER, events::FOLDER];

/// The files of a run in the run folder itself.
pub const FILES: [&str; 5] = [CONFIG_FILE, metrics::FILE_NAME, curves::FILE_NAME, log::FILE_NAME, SINGLE_FILE];

/// What a path inside a run folder is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Config,
    Metrics,
    Curves,
    Log,
    /// A checkpoint of version 1.
    Single,
    Folder,
    /// The name of the newest checkpoint.
    Last,
    /// The folder of a checkpoint, also one set aside.
    Checkpoint,
    Sample,
    Events,
}

impl Kind {
    /// None for what no run writes.
    fn of(name: &str) -> Option<Kind> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let step = |text: &str| text.strip_prefix("step-").is_some_and(digits);
        match name {
            CONFIG_FILE => return Some(Kind::Config),
            metrics::FILE_NAME => return Some(Kind::Metrics),
            curves::FILE_NAME => return Some(Kind::Curves),
            log::FILE_NAME => return Some(Kind::Log),
            SINGLE_FILE => return Some(Kind::Single),
            _ if FOLDERS.contains(&name) => return Some(Kind::Folder),
            _ => {}
        }
        match name.split_once('/')? {
            (CHECKPOINTS, "last") => Some(Kind::Last),
            (CHECKPOINTS, name) => {
                let aside = |name: &str| {
                    let (first, more) = name.split_once(".set-aside")?;
                    Some(step(first) && (more.is_empty() || more.strip_prefix('-').is_some_and(digits)))
                };
                (step(name) || aside(name) == Some(true)).then_some(Kind::Checkpoint)
            }
            (samples::FOLDER, name) => name.strip_suffix(".png").is_some_and(step).then_some(Kind::Sample),
            (events::FOLDER, name) => {
                let numbers = name.strip_prefix(events::PREFIX)?.split_once('.')?;
                (numbers.0.len() >= 10 && numbers.1.len() >= 6 && digits(numbers.0) && digits(numbers.1))
                    .then_some(Kind::Events)
            }
            _ => None,
        }
    }

    /// Whether what is at `path` can be what a run of this program writes there. A file that was cut short can.
    fn is_at(self, path: &Path) -> bool {
        let start = || start(path, 64 << 10);
        let begins = |with: &[u8]| start().is_some_and(|held| held.starts_with(&with[..with.len().min(held.len())]));
        match self {
            Kind::Config => text(path).is_some_and(|text| is_resolved(&text)),
            Kind::Metrics => begins(b"{\"schema\":"),
            Kind::Curves => begins(b"<svg width=\"760\" height=\"400\""),
            Kind::Log => start().is_some_and(|held| log::is_begun_by(&held)),
            Kind::Single => start().is_some_and(|held| holds(&held, b"bootmae checkpoint")),
            Kind::Folder => path.is_dir(),
            Kind::Last => text(path).is_some_and(|text| text.is_empty() || text.starts_with("step-")),
            Kind::Checkpoint => checkpoint::is_at(path),
            Kind::Sample => start().is_some_and(|held| picture::is_begun_by(&held)),
            Kind::Events => start().is_some_and(|held| events::is_begun_by(&held)),
        }
    }
}

/// Whether a text is a run's resolved settings, of whatever version: no person writes all of these keys.
fn is_resolved(text: &str) -> bool {
    let keys = [("model", "image_height"), ("model", "masked"), ("training", "seed"), ("data", "loader_threads")];
    let table: Option<toml::Table> = text.parse().ok();
    table.is_some_and(|table| keys.iter().all(|(section, key)| table.get(*section).and_then(|s| s.get(key)).is_some()))
}

/// The first bytes of a regular file; none where there is none.
fn start(path: &Path, most: u64) -> Option<Vec<u8>> {
    let mut held = Vec::new();
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    File::open(path).ok()?.take(most).read_to_end(&mut held).ok()?;
    Some(held)
}

fn text(path: &Path) -> Option<String> {
    String::from_utf8(start(path, 1 << 20)?).ok()
}

fn holds(held: &[u8], part: &[u8]) -> bool {
    held.windows(part.len()).any(|window| window == part)
}

/// The record of a run folder.
#[derive(Clone, Debug)]
pub struct Record {
    run: PathBuf,
}

impl Record {
    /// That of a run folder; the file is made with the first entry.
    pub fn of(run: &Path) -> Record {
        Record { run: run.into() }
    }

    fn path(&self) -> PathBuf {
        self.run.join(FILE_NAME)
    }

    /// What the run created, and what no longer is. None where there is no record, or only the beginning of one.
    pub fn names(&self) -> Result<Option<BTreeSet<String>>> {
        let path = self.path();
        let held = match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path)(e)),
            Ok(found) if !found.is_file() => return Err(foreign(&path)),
            Ok(_) => fs::read(&path).map_err(Error::io(&path))?,
        };
        if held.len() < HEAD.len() && HEAD.as_bytes().starts_with(&held) {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&held);
        let Some(names) = text.strip_prefix(HEAD) else { return Err(foreign(&path)) };
        // The last line has no end where a process was killed while it wrote it; its file was not created then.
        let whole = names.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        Ok(Some(whole.filter(|name| Kind::of(name).is_some()).map(String::from).collect()))
    }

    /// Notes that the run creates the file or folder `name`, before it does. False where something is there that the run
    /// did not create: then it must be left alone.
    pub fn claim(&self, name: &str) -> Result<bool> {
        debug_assert!(Kind::of(name).is_some(), "{name}");
        // Checkpoints are saved on a thread of their own.
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock();
        let held = self.names()?;
        if held.as_ref().is_some_and(|held| held.contains(name)) {
            return Ok(true);
        }
        let path = self.run.join(name);
        // What is left of a checkpoint that someone put files into takes those of another one in.
        let left = Kind::of(name) == Some(Kind::Checkpoint) && holds_none(&path);
        if path.symlink_metadata().is_ok() && !left {
            return Ok(false);
        }
        self.add(held.is_none(), [name])?;
        Ok(true)
    }

    fn add<'n>(&self, new: bool, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
        let mut lines = if new { HEAD.to_owned() } else { String::new() };
        names.into_iter().for_each(|name| lines.extend([name, "\n"]));
        append_synced(&self.path(), &lines).map_err(Error::io(self.path()))
    }
}

fn foreign(path: &Path) -> Error {
    in_the_way(path, "is not what a run writes there")
}

fn in_the_way(path: &Path, why: &str) -> Error {
    Error::Config(format!("{} {why}. Nothing was changed. Move it elsewhere, or choose another --out", path.display()))
}

/// What a run folder holds.
#[derive(Debug)]
pub struct Held {
    record: Record,
    /// What is recorded as the run's own, or recognised where an older program kept no record.
    own: BTreeSet<String>,
    /// Whether a run was begun here.
    pub is_run: bool,
    /// Names in the folder itself that are no run's, in order; of a folder without a run, all that mean something.
    pub others: Vec<String>,
    recorded: bool,
}

impl Held {
    /// Looks, and changes nothing. `lock` is the name of the file that is locked.
    pub fn look(run: &Path, lock: &str) -> Result<Held> {
        let record = Record::of(run);
        let mut entries = match fs::read_dir(run) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            entries => entries.map_err(Error::io(run))?.flatten().collect(),
        };
        entries.retain(|entry| entry.file_name() != FILE_NAME && entry.file_name() != lock);
        let names = record.names()?;
        let recorded = names.is_some();
        let own = names.unwrap_or_else(|| recognised(run));
        let empty = |entry: &fs::DirEntry| {
            FOLDERS.iter().any(|name| entry.file_name() == *name)
                && entry.file_type().is_ok_and(|kind| kind.is_dir())
                && fs::read_dir(entry.path()).is_ok_and(|mut held| held.next().is_none())
        };
        let known = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            FOLDERS.contains(&name) || FILES.contains(&name)
        };
        entries.retain(|entry| !empty(entry));
        let all_own = || entries.iter().all(|entry| own.contains(&*entry.file_name().to_string_lossy()));
        let is_run = recorded || is_begun(&own) || (own.contains(log::FILE_NAME) && all_own());
        entries.retain(|entry| !(is_run && known(entry)));
        let mut others: Vec<_> = entries.iter().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        others.sort();
        Ok(Held { record, own, is_run, others, recorded })
    }

    /// Whether a run was begun here that wrote nothing, and nothing else is here.
    pub fn is_bare(&self) -> bool {
        let there = |name: &String| {
            Kind::of(name) != Some(Kind::Folder) && self.record.run.join(name).symlink_metadata().is_ok()
        };
        self.recorded && self.others.is_empty() && !self.own.iter().any(there)
    }

    /// Refuses a folder in which a file that the run would replace, or a link that it would remove through, is not its
    /// own. `again` says that the run is to be removed first.
    pub fn check(&self, again: bool) -> Result<()> {
        let run = &self.record.run;
        for name in FILES.into_iter().filter(|name| *name != SINGLE_FILE) {
            let (path, kind) = (run.join(name), Kind::of(name).expect("a run's name"));
            let own = self.own.contains(name) && (kind.is_at(&path) || kind == Kind::Log && !again);
            if path.symlink_metadata().is_ok() && !own {
                return Err(foreign(&path));
            }
        }
        for name in FOLDERS {
            let path = run.join(name);
            if path.symlink_metadata().is_ok() && !path.is_dir() {
                return Err(foreign(&path));
            }
            let inside = |own: &&String| own.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
            let held = self.own.iter().filter(inside).find(|own| run.join(own).symlink_metadata().is_ok());
            if again
                && path.is_symlink()
                && let Some(held) = held
            {
                let why = format!(
                    "is a link, and leads to {held} of the run; --overwrite removes nothing through a link. Empty it \
                     yourself, or choose another --out"
                );
                return Err(Error::Config(format!("{} {why}", path.display())));
            }
        }
        Ok(())
    }

    /// Removes the run's own files, and its folders where nothing else is left in them. What the record names but does
    /// not look like a run's stays.
    pub fn remove(&mut self) -> Result<()> {
        self.adopt()?;
        let run = self.record.run.clone();
        let (folders, files): (Vec<_>, Vec<_>) = self.own.iter().partition(|name| Kind::of(name) == Some(Kind::Folder));
        for name in files {
            let (path, kind) = (run.join(name), Kind::of(name).expect("only such are held"));
            if path.parent().is_none_or(|parent| parent.is_symlink() && parent != run) || path.is_symlink() {
                continue;
            }
            let removed = match kind {
                Kind::Checkpoint => remove_folder(&path, &CHECKPOINT_FILES).map(drop),
                _ if kind.is_at(&path) => remove_file(&path),
                _ => Ok(()),
            };
            removed.map_err(Error::io(&path))?;
        }
        for name in folders {
            remove_folder(&run.join(name), &[]).map_err(Error::io(run.join(name)))?;
        }
        self.own = BTreeSet::new();
        write_atomically(&self.record.path(), |to| to.write_all(HEAD.as_bytes()))
    }

    /// Writes down what is the run's own where there is no record yet, and the names of what it will write in any case.
    pub fn adopt(&mut self) -> Result<()> {
        let always = FOLDERS.iter().chain(&FILES).filter(|name| **name != SINGLE_FILE);
        let missing: Vec<&str> = always.copied().filter(|name| !self.own.contains(*name)).collect();
        let unrecorded = if self.recorded { BTreeSet::new() } else { self.own.clone() };
        if !self.recorded || !missing.is_empty() {
            self.record.add(!self.recorded, unrecorded.iter().map(String::as_str).chain(missing.iter().copied()))?;
        }
        self.recorded = true;
        self.own.extend(missing.into_iter().map(String::from));
        Ok(())
    }

    /// Whether `name` in `folder` (empty for the run folder itself) is the run's own.
    pub fn owns(&self, folder: &str, name: &str) -> bool {
        self.own.contains(name) && folder.is_empty() || self.own.contains(&format!("{folder}/{name}"))
    }
}

/// Whether these files, recognised where there is no record, are those of a run. Settings alone may be a person's.
fn is_begun(own: &BTreeSet<String>) -> bool {
    let has = |kind: Kind| own.iter().any(|name| Kind::of(name) == Some(kind));
    has(Kind::Single) || has(Kind::Checkpoint) || has(Kind::Config) && (has(Kind::Metrics) || has(Kind::Log))
}

/// Whether the file at `path`, there or not, is one that a run or its checkpoint consists of.
pub fn is_of_a_run(path: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let parent = || Some(real(path.parent()?).ok()?.join(path.file_name()?));
    let Some(path) = real(path).ok().or_else(parent) else { return false };
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let Some(folder) = path.parent() else { return false };
    if CHECKPOINT_FILES.contains(&name) && checkpoint::is_at(folder) {
        return true;
    }
    let of = |run: &Path, name: &str| match Record::of(run).names() {
        Ok(Some(own)) => name == FILE_NAME || own.contains(name),
        _ => Kind::of(name).is_some_and(|kind| kind.is_at(&path)) && is_begun(&recognised(run)),
    };
    let inner = folder.file_name().and_then(|folder| Some(format!("{}/{name}", folder.to_str()?)));
    of(folder, name) || folder.parent().zip(inner).is_some_and(|(run, name)| of(run, &name))
}

/// What looks like a run's own in the folder of a run that kept no record.
fn recognised(run: &Path) -> BTreeSet<String> {
    let mut own = BTreeSet::new();
    let mut take = |name: String| {
        let path = run.join(&name);
        let filled =
            fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir() || found.is_file() && found.len() > 0);
        if filled && Kind::of(&name).is_some_and(|kind| kind.is_at(&path)) {
            own.insert(name);
        }
    };
    FILES.iter().chain(&FOLDERS).for_each(|name| take((*name).into()));
    for folder in FOLDERS {
        for entry in fs::read_dir(run.join(folder)).into_iter().flatten().flatten() {
            if let Some(name) = entry.file_name().to_str() {
                take(format!("{folder}/{name}"));
            }
        }
    }
    // Of pictures only those in the size that a run with these settings draws.
    let config = text(&run.join(CONFIG_FILE)).and_then(|text| toml::from_str::<RunConfig>(&text).ok());
    let drawn = |name: &str| {
        let held = start(&run.join(name), 64);
        config.as_ref().zip(held).is_some_and(|(config, held)| samples::is_drawn_for(&config.model, &held))
    };
    own.retain(|name| Kind::of(name) != Some(Kind::Sample) || drawn(name));
    own
}

/// Whether a folder is there in which no file of a checkpoint is.
pub fn holds_none(folder: &Path) -> bool {
    let is_folder = folder.symlink_metadata().is_ok_and(|found| found.is_dir());
    is_folder && CHECKPOINT_FILES.iter().all(|name| folder.join(name).symlink_metadata().is_err())
}

/// Renames the folder of a checkpoint; file by file, the manifest last, where the file system renames no folders, or
/// where someone's own files are in a folder of that name already.
pub fn move_checkpoint(from: &Path, to: &Path) -> io::Result<()> {
    let error = match rename(from, to) {
        Err(error) if lacks(&error) || holds_none(to) => error,
        done => return done,
    };
    match to.symlink_metadata() {
        Err(_) => fs::create_dir(to)?,
        Ok(_) if holds_none(to) => {}
        Ok(_) => return Err(error),
    }
    for name in CHECKPOINT_FILES.iter().rev().filter(|name| from.join(name).exists()) {
        rename(&from.join(name), &to.join(name))?;
    }
    sync_folder(to)?;
    remove_folder(from, &[]).map(drop)
}
