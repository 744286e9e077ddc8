//! Event files for TensorBoard: scalars of each step and the samples, in `events/`.
//!
//! A file is a sequence of records: the length of a message as u64, a checksum of these eight bytes, the message, a
//! checksum of it; all little-endian. A message is an `Event` of TensorFlow's `event.proto` in protocol buffers.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use prost::encoding::{bytes, double, float, int32, int64, string};

use crate::{
    checkpoint::record::Record,
    durable::sync_parent,
    error::{Error, Result},
    train::metrics::Metrics,
};

pub use crate::checkpoint::names::EVENTS as FOLDER;
pub(super) use crate::checkpoint::names::EVENTS_PREFIX as PREFIX;

/// The version that an event file says first.
const VERSION: &str = "brain.Event:2";

/// Whether a file that begins so can be an event file of a run.
pub(super) fn is_begun_by(start: &[u8]) -> bool {
    let first = &start[..start.len().min(64)];
    first.windows(VERSION.len()).any(|part| part == VERSION.as_bytes())
}

/// An open event file; each process adds one.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Opens a new file for a run that continues after `completed` steps. What earlier files hold of later steps is
    /// void from here on: TensorBoard drops it at the mark that this file begins with.
    pub fn open(run: &Path, completed: u64) -> Result<Events> {
        let folder = run.join(FOLDER);
        fs::create_dir_all(&folder).and_then(|()| sync_parent(&folder)).map_err(Error::io(&folder))?;
        // TensorBoard reads the files of a folder in the order of their names.
        let (count, record) = (fs::read_dir(&folder).map_err(Error::io(&folder))?.count(), Record::of(run));
        let mut number = count;
        let (path, file) = loop {
            let name = format!("{PREFIX}{:010}.{number:06}", now() as u64);
            let path = folder.join(&name);
            let free = path.symlink_metadata().is_err() && record.claim(&format!("{FOLDER}/{name}"))?;
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) if free => break (path, file),
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(Error::io(path)(e)),
                _ => number += 1,
            }
        };
        let mut events = Events { path, file };
        let mut version = Vec::new();
        string::encode(3, &VERSION.to_owned(), &mut version);
        events.write(0, &version)?;
        // SessionLog { status: START }
        let (mut status, mut session) = (Vec::new(), Vec::new());
        int32::encode(1, &1, &mut status);
        bytes::encode(7, &status, &mut session);
        events.write(completed + 1, &session)?;
        Ok(events)
    }

    /// Adds what a step measured.
    pub fn scalars(&mut self, metrics: &Metrics) -> Result<()> {
        let always = [
            ("loss/total", metrics.loss),
            ("schedule/learning_rate", metrics.learning_rate),
            ("gradient_norm", metrics.gradient_norm),
            ("speed/images_per_s", metrics.images_per_s),
            ("speed/data_wait_share", metrics.data_wait_share),
            ("memory/gpu_bytes", metrics.gpu_bytes as f64),
        ];
        let sometimes = [
            ("loss_scale", metrics.loss_scale),
            ("memory/resident_bytes", metrics.resident_bytes.map(|bytes| bytes as f64)),
        ];
        let sometimes = sometimes.into_iter().filter_map(|(tag, value)| Some((tag, value?)));
        let own = metrics.scalars.iter().map(|(name, value)| (tag(name), value));
        let mut values = Vec::new();
        for (tag, number) in always.into_iter().chain(sometimes).map(|(tag, value)| (tag.to_owned(), value)).chain(own)
        {
            let mut value = Vec::new();
            string::encode(1, &tag, &mut value);
            float::encode(2, &(number as f32), &mut value);
            bytes::encode(1, &value, &mut values);
        }
        self.summary(metrics.step, values)
    }

    /// Adds a picture, the bytes of a PNG of `width` × `height` pixels.
    pub fn picture(&mut self, step: u64, (width, height): (u32, u32), png: &[u8]) -> Result<()> {
        let (mut image, mut value, mut values) = (Vec::new(), Vec::new(), Vec::new());
        int32::encode(1, &(height as i32), &mut image);
        int32::encode(2, &(width as i32), &mut image);
        int32::encode(3, &3, &mut image);
        bytes::encode(4, &png.to_vec(), &mut image);
        string::encode(1, &"sample".to_owned(), &mut value);
        bytes::encode(4, &image, &mut value);
        bytes::encode(1, &value, &mut values);
        self.summary(step, values)
    }

    fn summary(&mut self, step: u64, values: Vec<u8>) -> Result<()> {
        let mut summary = Vec::new();
        bytes::encode(5, &values, &mut summary);
        self.write(step, &summary)
    }

    /// Adds an event, `what` being its encoded contents, in one piece.
    fn write(&mut self, step: u64, what: &[u8]) -> Result<()> {
        let mut event = Vec::new();
        double::encode(1, &now(), &mut event);
        int64::encode(2, &(step as i64), &mut event);
        event.extend(what);
        let length = (event.len() as u64).to_le_bytes();
        let record = [&length[..], &checksum(&length), &event, &checksum(&event)].concat();
        self.file.write_all(&record).map_err(Error::io(&self.path))
    }
}

/// The tag of a task's scalar. TensorBoard shows together what stands before the `/`: `loss/pixel` of `loss_pixel`.
fn tag(name: &str) -> String {
    match name.split_once('_') {
        Some((group @ ("loss" | "teacher" | "accuracy" | "validation" | "knn"), rest)) => format!("{group}/{rest}"),
        _ if name.ends_with("_weight") || name.ends_with("_decay") => format!("schedule/{name}"),
        _ => name.to_owned(),
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The masked CRC-32C of a record: turned by 15 bits and shifted by a constant, so that a checksum of data that holds
/// checksums stays meaningful.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// CRC-32 with Castagnoli's polynomial.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut value, mut bit) = (i as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[]), 0);
    }

    /// What `tensorboard` itself reads; says that it is skipped where Python or that package is missing. `PYTHON` names
    /// another interpreter.
    #[test]
    fn tensorboard_reads_scalars_and_pictures_and_forgets_what_a_resumed_run_repeats() {
        let python = std::env::var("PYTHON").unwrap_or("python3".into());
        let found = Command::new(&python).args(["-c", "import tensorboard"]).output().is_ok_and(|o| o.status.success());
        if !found {
            eprintln!("skipped: `{python}` has no package tensorboard; `pip install tensorboard` brings it");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |step: u64, loss: f64| Metrics {
            step,
            loss,
            scalars: [("teacher_spread", 0.5), ("ema_decay", 0.99)].into_iter().collect(),
            ..Metrics::default()
        };
        let picture = image::RgbImage::from_pixel(3, 2, image::Rgb([255, 0, 0]));
        let mut png = Vec::new();
        picture.write_with_encoder(image::codecs::png::PngEncoder::new(&mut png)).unwrap();
        let mut events = Events::open(folder.path(), 0).unwrap();
        (1..=4).for_each(|step| events.scalars(&at(step, 10.0 + step as f64)).unwrap());
        events.picture(4, (3, 2), &png).unwrap();
        let mut events = Events::open(folder.path(), 2).unwrap();
        (3..=5).for_each(|step| events.scalars(&at(step, 20.0 + step as f64)).unwrap());
        events.picture(5, (3, 2), &png).unwrap();
        let script = "import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
print([(e.step, e.value) for e in events.Scalars('loss/total')])
print([(e.step, e.width, e.height, len(e.encoded_image_string)) for e in events.Images('sample')])
print(len(events.Tags()['scalars']))";
        let read = Command::new(&python).args(["-c", script]).arg(folder.path().join(FOLDER)).output().unwrap();
        let errors = String::from_utf8_lossy(&read.stderr);
        assert!(read.status.success(), "{errors}");
        let text = String::from_utf8_lossy(&read.stdout);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "[(1, 11.0), (2, 12.0), (3, 23.0), (4, 24.0), (5, 25.0)]", "{errors}");
        assert_eq!(lines[1], format!("[(5, 3, 2, {})]", png.len()));
        assert_eq!(lines[2], "11");
    }
}
