//! Writes checkpoints on a thread of its own, so that training goes on meanwhile.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use crate::{
    checkpoint::Checkpoints,
    durable::sync_file,
    error::{Error, Result},
    report::curves,
    train::snapshot::Snapshot,
};

/// At most one save at a time; its error comes back to the loop.
#[derive(Debug)]
pub struct Saver {
    run: PathBuf,
    keep: usize,
    running: Option<JoinHandle<Result<Saved>>>,
}

/// A checkpoint that is on the disk.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Its step.
    pub step: u64,
    /// Its folder.
    pub path: PathBuf,
}

impl Saver {
    /// Saves into the checkpoints of a run folder, of which it keeps the `keep` newest.
    pub fn new(run: &Path, keep: usize) -> Saver {
        Saver { run: run.into(), keep, running: None }
    }

    /// Begins to save, after waiting for the save before it, whose result is returned. What was written to `metrics` so
    /// far reaches the disk before the checkpoint does; the run's curves are drawn after it.
    pub fn start(&mut self, snapshot: Arc<Snapshot>, metrics: File) -> Result<Option<Saved>> {
        let before = self.finish()?;
        let (run, keep) = (self.run.clone(), self.keep);
        let work = move || {
            sync_file(&metrics).map_err(Error::io(&run))?;
            let path = Checkpoints::of(&run).save(&snapshot, keep)?;
            curves::draw(&run)?;
            Ok(Saved { step: snapshot.step, path })
        };
        let named = std::thread::Builder::new().name("checkpoint".into());
        self.running = Some(named.spawn(work).map_err(Error::io(&self.run))?);
        Ok(before)
    }

    /// The save that ended since the last call, if one did.
    pub fn poll(&mut self) -> Result<Option<Saved>> {
        if self.running.as_ref().is_some_and(JoinHandle::is_finished) { self.finish() } else { Ok(None) }
    }

    /// Waits for the save that is running.
    pub fn finish(&mut self) -> Result<Option<Saved>> {
        let Some(thread) = self.running.take() else { return Ok(None) };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(Some)
    }
}

impl Drop for Saver {
    /// Lets a save that is running come to its end, also when the run ends with an error.
    fn drop(&mut self) {
        if let Some(thread) = self.running.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::snapshot::sample;

    #[test]
    fn saves_follow_one_another_and_errors_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(folder.path());
        checkpoints.prepare().unwrap();
        let metrics = || File::create(folder.path().join("metrics.jsonl")).unwrap();
        let mut saver = Saver::new(folder.path(), 2);
        assert!(saver.start(Arc::new(sample(1)), metrics()).unwrap().is_none());
        assert_eq!(saver.start(Arc::new(sample(2)), metrics()).unwrap().unwrap().step, 1);
        assert_eq!(saver.finish().unwrap().unwrap().step, 2);
        assert!(saver.poll().unwrap().is_none());
        std::fs::remove_dir_all(checkpoints.folder()).unwrap();
        saver.start(Arc::new(sample(3)), metrics()).unwrap();
        let error = saver.finish().unwrap_err();
        assert!(error.to_string().contains("saving step 3 failed"), "{error}");
        assert_eq!(error.exit_code(), 6);
    }
}
