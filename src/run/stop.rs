//! What ends a run before its last step.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::train::team::Team;

/// Ends that a caller asks for. Whatever it is, the steps in flight are finished and the state is saved.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    /// After this many steps of the run.
    pub after: Option<u64>,
    /// At the first step that ends later than this.
    pub at: Option<Instant>,
    /// As soon as this is set.
    pub signal: Option<Arc<AtomicBool>>,
    /// As soon as this file is there.
    pub file: Option<PathBuf>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With its last step.
    Finished,
    /// After the number of steps that was asked for.
    StoppedAfter,
    /// At its time limit.
    TimeLimit,
    /// By a signal.
    Signal,
    /// By the file that asks for it.
    File,
}

impl Stops {
    /// Why to stop now, if there is a reason.
    pub fn due(&self) -> Option<Ended> {
        if self.signal.as_ref().is_some_and(|signal| signal.load(Ordering::Relaxed)) {
            return Some(Ended::Signal);
        }
        if self.file.as_ref().is_some_and(|file| file.is_file()) {
            return Some(Ended::File);
        }
        self.at.is_some_and(|at| Instant::now() >= at).then_some(Ended::TimeLimit)
    }

    /// The same for processes that train together: they stop after one step, whichever of them was asked to.
    pub fn agreed(&self, team: &mut Team) -> Option<Ended> {
        const REASONS: [Ended; 3] = [Ended::TimeLimit, Ended::File, Ended::Signal];
        let own = self.due().and_then(|due| REASONS.iter().position(|reason| *reason == due));
        let agreed = team.stop(own.map_or(0, |at| at as u8 + 1));
        agreed.checked_sub(1).map(|at| REASONS[usize::from(at).min(REASONS.len() - 1)])
    }
}

/// A length of time as a person writes it: `8h`, `90s`, `1h30m`, `2d`.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no length of time; write for example 8h, 30m, 90s or 1h30m");
    let (mut total, mut rest) = (0u64, text.trim());
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let count: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match rest.as_bytes()[digits] {
            b'd' => 86_400,
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return Err(wrong()),
        };
        total = count.checked_mul(unit).and_then(|seconds| total.checked_add(seconds)).ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    // Far enough for any run, and near enough for every clock.
    if total > 100 * 365 * 86_400 { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units_and_refused_without() {
        let seconds = |text| parse_time(text).map(|time| time.as_secs());
        assert_eq!(
            ["8h", "30m", "90s", "1h30m", "2d", "0s"].map(|t| seconds(t).unwrap()),
            [28_800, 1800, 90, 5400, 172_800, 0]
        );
        for text in ["", "8", "h", "8x", "1h30", "-1h", "1.5h", "8 h", "99999999999999999999h", "9999999d", "8é"] {
            assert!(seconds(text).unwrap_err().contains("8h, 30m"), "{text}");
        }
    }

    #[test]
    fn a_signal_comes_before_the_file_and_the_time_limit() {
        assert_eq!(Stops::default().due(), None);
        let signal = Arc::new(AtomicBool::new(false));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("STOP");
        let (at, file) = (Some(Instant::now()), Some(file));
        let stops = Stops { after: None, at, signal: Some(signal.clone()), file };
        assert_eq!(stops.due(), Some(Ended::TimeLimit));
        std::fs::write(stops.file.as_ref().unwrap(), "").unwrap();
        assert_eq!(stops.due(), Some(Ended::File));
        signal.store(true, Ordering::Relaxed);
        assert_eq!(stops.due(), Some(Ended::Signal));
    }
}
