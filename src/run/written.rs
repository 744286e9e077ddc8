//! Which files in a run folder are the run's own: the record that it keeps of what it creates, and what its files look
//! like. Whatever is not its own is neither removed nor replaced.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use super::{events, samples};
use crate::{
    checkpoint::{
        self, CHECKPOINT_FILES, SINGLE_FILE,
        names::{CONFIG_FILE, FILES, FOLDERS, Kind},
        record::{FILE_NAME, HEAD, Record, foreign},
    },
    durable::{remove_file, remove_folder, write_atomically},
    error::{Error, Result},
    report::{log, page, picture},
    train::config::RunConfig,
};

impl Kind {
    /// Whether what is at `path` can be what a run of this program writes there. A file that was cut short can.
    fn is_at(self, path: &Path) -> bool {
        let start = || start(path, 64 << 10);
        let begins = |with: &[u8]| start().is_some_and(|held| held.starts_with(&with[..with.len().min(held.len())]));
        match self {
            Kind::Config => text(path).is_some_and(|text| is_resolved(&text)),
            Kind::Metrics => begins(b"{\"schema\":"),
            Kind::Curves => begins(b"<svg width=\"760\" height=\"400\""),
            Kind::Report => start().is_some_and(|held| page::is_begun_by(&held)),
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
            // A report that was asked for before runs wrote their own is as good as theirs.
            let own =
                (self.own.contains(name) || kind == Kind::Report) && (kind.is_at(&path) || kind == Kind::Log && !again);
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
    // Whoever asks for a report may replace the run's.
    if name == page::FILE_NAME {
        return false;
    }
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
