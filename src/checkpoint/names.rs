//! What a run's files are called, inside its folder.

use super::SINGLE_FILE;
use crate::{
    report::{curves, log, page},
    train::metrics,
};

/// The resolved configuration.
pub const CONFIG_FILE: &str = "config.toml";

/// The folder of pictures drawn while training.
pub const SAMPLES: &str = "samples";

/// The folder of event files.
pub const EVENTS: &str = "events";

/// What the names of event files begin with.
pub(crate) const EVENTS_PREFIX: &str = "events.out.tfevents.";

/// The folder of the checkpoints inside a run folder.
pub const CHECKPOINTS: &str = "checkpoints";

/// The folders of a run.
pub const FOLDERS: [&str; 3] = [CHECKPOINTS, SAMPLES, EVENTS];

/// The files of a run in the run folder itself.
pub const FILES: [&str; 6] =
    [CONFIG_FILE, metrics::FILE_NAME, curves::FILE_NAME, page::FILE_NAME, log::FILE_NAME, SINGLE_FILE];

/// What a path inside a run folder is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Config,
    Metrics,
    Curves,
    Report,
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
    pub(crate) fn of(name: &str) -> Option<Kind> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let step = |text: &str| text.strip_prefix("step-").is_some_and(digits);
        match name {
            CONFIG_FILE => return Some(Kind::Config),
            metrics::FILE_NAME => return Some(Kind::Metrics),
            curves::FILE_NAME => return Some(Kind::Curves),
            page::FILE_NAME => return Some(Kind::Report),
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
            (SAMPLES, name) => name.strip_suffix(".png").is_some_and(step).then_some(Kind::Sample),
            (EVENTS, name) => {
                let numbers = name.strip_prefix(EVENTS_PREFIX)?.split_once('.')?;
                (numbers.0.len() >= 10 && numbers.1.len() >= 6 && digits(numbers.0) && digits(numbers.1))
                    .then_some(Kind::Events)
            }
            _ => None,
        }
    }
}
