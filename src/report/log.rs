//! `train.log`: what a person was told of a run, with times.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    time::SystemTime,
};

use crate::{
    error::{Error, Result},
    text::shown,
};

/// The file's name inside a run folder.
pub const FILE_NAME: &str = "train.log";

/// An open `train.log`, to which lines are added.
#[derive(Debug)]
pub struct TrainLog(File);

impl TrainLog {
    /// Opens the log of a run folder.
    pub fn open(folder: &Path) -> Result<TrainLog> {
        let path = folder.join(FILE_NAME);
        OpenOptions::new().append(true).create(true).open(&path).map(TrainLog).map_err(Error::io(path))
    }

    /// Adds a line with the time in UTC, or several where `line` has line breaks. A line that cannot be written is lost
    /// and nothing else: what a run depends on is in other files.
    pub fn note(&mut self, line: &str) {
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let time = utc(seconds);
        let lines: String = line.lines().map(|line| format!("{time}  {}\n", shown(line))).collect();
        let _ = self.0.write_all(lines.as_bytes());
    }
}

/// Whether a file that begins so can be a run's log: it has a time, or is empty.
pub(crate) fn is_begun_by(start: &[u8]) -> bool {
    let form = b"0000-00-00T00:00:00Z  ";
    let fits = |(held, form): (&u8, &u8)| if *form == b'0' { held.is_ascii_digit() } else { held == form };
    start.iter().zip(form).all(fits)
}

/// A time as `2026-01-31T23:59:58Z`.
fn utc(seconds: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut days, mut year) = (seconds / 86_400, 1970);
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(utc(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn lines_are_added() {
        let folder = tempfile::tempdir().unwrap();
        for line in ["first", "second", "key = \u{1b}[31m\n    ^\n"] {
            TrainLog::open(folder.path()).unwrap().note(line);
        }
        let text = std::fs::read_to_string(folder.path().join(FILE_NAME)).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once("Z  ").unwrap().1).collect();
        assert_eq!(lines, ["first", "second", r"key = \u{1b}[31m", "    ^"]);
    }
}
