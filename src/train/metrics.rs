//! The measurements of a run: `metrics.jsonl`, one JSON object a line, readable while the run goes on.

use serde::{Deserialize, Serialize};

use crate::tasks::Scalars;

#[cfg(not(target_arch = "wasm32"))]
pub use log::MetricsLog;

/// The file's name inside a run folder.
pub const FILE_NAME: &str = "metrics.jsonl";

/// Version of the lines' form; grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 2;

/// What one step measured. JSON has no NaN: a value that is not finite is written as `null` and reads back as NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// [`SCHEMA`] of the program that wrote the line.
    pub schema: u32,
    /// Steps completed, this one included.
    pub step: u64,
    /// What was minimised.
    #[serde(deserialize_with = "nullable")]
    pub loss: f64,
    /// What the task reports beside it, by name; see `docs/run-folder.md`.
    #[serde(flatten)]
    pub scalars: Scalars,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Euclidean length of the gradient over all weights.
    #[serde(deserialize_with = "nullable")]
    pub gradient_norm: f64,
    /// What the loss was multiplied by for the backward pass; only in half precision. Where the gradient's norm is not
    /// finite, this was too much: the step made no update, and the next takes half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// Images trained on a second, recently.
    pub images_per_s: f64,
    /// Seconds that this step waited for its images.
    pub data_wait_s: f64,
    /// Share of the time since the step before that went into that wait, 0 to 1.
    #[serde(default)]
    pub data_wait_share: f64,
    /// GPU memory that the run holds, in bytes.
    #[serde(default)]
    pub gpu_bytes: u64,
    /// Main memory that the process holds, in bytes, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// Of processes that train together, after every 50 steps: the one that took the longest for its parts of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest_rank: Option<usize>,
    /// Seconds since this process began to train.
    pub elapsed_s: f64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            schema: SCHEMA,
            step: 0,
            loss: 0.0,
            scalars: Scalars::default(),
            learning_rate: 0.0,
            gradient_norm: 0.0,
            loss_scale: None,
            images_per_s: 0.0,
            data_wait_s: 0.0,
            data_wait_share: 0.0,
            gpu_bytes: 0,
            resident_bytes: None,
            slowest_rank: None,
            elapsed_s: 0.0,
        }
    }
}

fn nullable<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// The file and its upkeep.
#[cfg(not(target_arch = "wasm32"))]
mod log {
    use std::fs::{self, File, OpenOptions};
    use std::io::{ErrorKind, Write};
    use std::path::{Path, PathBuf};

    use serde::Deserialize;

    use super::Metrics;
    use crate::{
        durable::write_atomically,
        error::{Error, Result},
    };

    /// An open `metrics.jsonl`. Each line reaches the operating system in one piece before the next step begins.
    #[derive(Debug)]
    pub struct MetricsLog {
        path: PathBuf,
        file: File,
    }

    impl MetricsLog {
        /// Opens `path` for a run that continues after `completed` steps, 0 for a new one. Lines past that step, and a
        /// line cut short by a crash, are dropped first; that replaces the file as a whole or not at all.
        pub fn open(path: &Path, completed: u64) -> Result<MetricsLog> {
            let held = match fs::read(path) {
                Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
                other => other.map_err(Error::io(path))?,
            };
            let kept: Vec<&[u8]> =
                held.split_inclusive(|&byte| byte == b'\n').filter(|l| keeps(l, completed)).collect();
            let kept = kept.concat();
            if kept.len() < held.len() {
                write_atomically(path, |to| to.write_all(&kept))?;
            }
            let file = OpenOptions::new().append(true).create(true).open(path).map_err(Error::io(path))?;
            Ok(MetricsLog { path: path.to_owned(), file })
        }

        /// A second handle on the file, to flush it to the disk from another thread.
        pub fn handle(&self) -> Result<File> {
            self.file.try_clone().map_err(Error::io(&self.path))
        }

        /// Appends one line.
        pub fn write(&mut self, metrics: &Metrics) -> Result<()> {
            let mut line = serde_json::to_vec(metrics).map_err(|e| Error::io(&self.path)(e.into()))?;
            line.push(b'\n');
            self.file.write_all(&line).and_then(|()| self.file.flush()).map_err(Error::io(&self.path))
        }
    }

    /// Whether a line is whole and belongs to the first `completed` steps.
    fn keeps(line: &[u8], completed: u64) -> bool {
        #[derive(Deserialize)]
        struct Stepped {
            step: u64,
        }
        line.ends_with(b"\n")
            && serde_json::from_slice::<Stepped>(line).is_ok_and(|line| line.step <= completed && line.step > 0)
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    fn at(step: u64) -> Metrics {
        let scalars = Scalars::from_iter([("loss_pixel", 0.1), ("teacher_spread", 0.125)]);
        Metrics { step, loss: 1.0 / step as f64, scalars, ..Metrics::default() }
    }

    fn steps(path: &std::path::Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str::<Metrics>(line).unwrap().step).collect()
    }

    #[test]
    fn lines_read_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let mut log = MetricsLog::open(&path, 0).unwrap();
        log.write(&at(1)).unwrap();
        log.write(&at(3)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<Metrics> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, [at(1), at(3)]);
        assert!(
            text.starts_with("{\"schema\":2,\"step\":1,\"loss\":1.0,\"loss_pixel\":0.1,\"teacher_spread\":0.125,"),
            "{text}"
        );
    }

    #[test]
    fn a_loss_that_is_not_a_number_still_reads_back() {
        let line = serde_json::to_string(&Metrics { loss: f64::NAN, gradient_norm: f64::INFINITY, ..at(1) }).unwrap();
        let read: Metrics = serde_json::from_str(&line).unwrap();
        assert!(read.loss.is_nan() && read.gradient_norm.is_nan() && read.scalars["loss_pixel"] == 0.1);
    }

    #[test]
    fn lines_of_the_first_schema_read_as_those_of_today() {
        let line = r#"{"schema":1,"step":7,"loss":1.75,"loss_pixel":1.5,"loss_feature":0.5,"feature_weight":0.5,
            "learning_rate":0.001,"ema_decay":0.99,"gradient_norm":null,"teacher_spread":0.25,"images_per_s":30.0,
            "data_wait_s":0.0,"elapsed_s":3.5}"#;
        let read: Metrics = serde_json::from_str(line).unwrap();
        assert_eq!((read.step, read.loss, read.learning_rate, read.resident_bytes), (7, 1.75, 0.001, None));
        assert!(read.gradient_norm.is_nan());
        let names = ["loss_pixel", "loss_feature", "feature_weight", "ema_decay", "teacher_spread"];
        assert_eq!(names.map(|name| read.scalars[name]), [1.5, 0.5, 0.5, 0.99, 0.25]);
    }

    #[test]
    fn resuming_drops_lines_past_the_restored_step_and_broken_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let mut log = MetricsLog::open(&path, 0).unwrap();
        (1..=5).for_each(|step| log.write(&at(step)).unwrap());
        let cut = [&std::fs::read(&path).unwrap()[..], b"{\"schema\":1,\"step\":2,\"lo"].concat();
        std::fs::write(&path, &cut).unwrap();
        let mut log = MetricsLog::open(&path, 3).unwrap();
        assert_eq!(steps(&path), [1, 2, 3]);
        log.write(&at(4)).unwrap();
        assert_eq!(steps(&path), [1, 2, 3, 4]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_run_starts_with_an_empty_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        MetricsLog::open(&path, 0).unwrap().write(&at(1)).unwrap();
        MetricsLog::open(&path, 0).unwrap();
        assert_eq!(steps(&path), [0; 0]);
    }
}
