//! A run's folder: what lies where, who may write to it, and what a run there goes on from.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use super::{samples, written::Held};
use crate::{
    checkpoint::{self, Checkpoints, SINGLE_FILE},
    durable::{lacks, remove_partials, sync_parent, try_lock, warn_once, write_atomically},
    error::{Error, Result},
    train::{
        config::{RunConfig, differences},
        snapshot::Snapshot,
    },
};

pub use crate::checkpoint::names::CONFIG_FILE;
/// The file that a running process holds locked.
const LOCK_FILE: &str = "run.lock";

/// How a run folder is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It must be new or empty.
    New,
    /// A run that is there is removed first: what it recorded as its own, and nothing else.
    Overwrite,
    /// A run that is there goes on.
    Resume,
}

/// A run folder: where a run writes, and nowhere else. Locked as long as the value lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

/// Where a resumed run goes on.
#[derive(Debug)]
pub struct Resumed {
    /// The state.
    pub snapshot: Snapshot,
    /// What it was read from.
    pub path: PathBuf,
    /// What a person should know: checkpoints passed over or set aside.
    pub remarks: Vec<String>,
}

impl RunFolder {
    /// Creates the folder where it is missing, locks it, and clears away what an interrupted process left. Refuses a
    /// folder in which another process trains, one that holds anything and is no run's, and with [`Entry::New`] a run's
    /// too. A refused folder is left as it was.
    pub fn enter(path: &Path, entry: Entry) -> Result<RunFolder> {
        admit(path, entry)?;
        fs::create_dir_all(path).map_err(Error::io(path))?;
        let lock = lock(&path.join(LOCK_FILE))?;
        let folder = RunFolder { path: path.into(), _lock: lock };
        // Now that no other process begins a run here meanwhile.
        let mut held = admit(path, entry)?;
        if entry == Entry::Overwrite && held.is_run {
            held.remove()?;
        }
        held.adopt()?;
        for name in ["", samples::FOLDER] {
            remove_partials(&path.join(name), |partial| held.owns(name, partial), &[])?;
        }
        folder.checkpoints().prepare()?;
        sync_parent(path).map_err(Error::io(path))?;
        Ok(folder)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its checkpoints.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::of(&self.path)
    }

    /// Writes the resolved configuration.
    pub fn write_config(&self, config: &RunConfig) -> Result<()> {
        let text = config.to_toml()?;
        write_atomically(&self.path.join(CONFIG_FILE), |file| file.write_all(text.as_bytes()))
    }

    /// The state that the run goes on from: of `from`, a checkpoint, or else of the newest complete checkpoint here; none
    /// where there is no checkpoint yet. Nothing is changed by that.
    pub fn resume(&self, from: Option<&Path>) -> Result<Option<Resumed>> {
        let checkpoints = self.checkpoints();
        let single = self.path.join(SINGLE_FILE);
        let resumed = if let Some(path) = from {
            let path = path.to_owned();
            Resumed { snapshot: checkpoint::read_any(&path)?, path, remarks: Vec::new() }
        } else if let Some(found) = checkpoints.newest()? {
            let remarks = found.passed_over.iter().map(|why| format!("passed over {why}")).collect();
            Resumed { snapshot: found.snapshot, path: found.path, remarks }
        } else if single.is_file() {
            Resumed { snapshot: checkpoint::read_any(&single)?, path: single, remarks: Vec::new() }
        } else {
            return Ok(None);
        };
        Ok(Some(resumed))
    }

    /// Sets the checkpoints after `step` aside, for a run that does go on from there, and says so of each.
    pub fn set_aside_after(&self, step: u64) -> Result<Vec<String>> {
        let aside = self.checkpoints().set_aside_after(step)?;
        Ok(aside.iter().map(|name| format!("a later checkpoint is set aside as {name}")).collect())
    }
}

/// Refuses to go on from `snapshot`, read from `path`, with a configuration that differs in anything but where images
/// are and how the run is saved. The error names each differing key with both values.
pub fn check_resumable(snapshot: &Snapshot, path: &Path, config: &RunConfig) -> Result<()> {
    let (held, mut wanted) = (&snapshot.config, config.clone());
    wanted.data = held.data.clone();
    wanted.evaluation.clone_from(&held.evaluation);
    wanted.training.init_from.clone_from(&held.training.init_from);
    wanted.training.wire = held.training.wire;
    // The same bits either way.
    wanted.training.recompute = held.training.recompute;
    wanted.training.save_every_steps = held.training.save_every_steps;
    wanted.training.keep_checkpoints = held.training.keep_checkpoints;
    wanted.training.sample_every_steps = held.training.sample_every_steps;
    if let (Some(wanted), Some(held)) = (&mut wanted.finetune, &held.finetune) {
        wanted.validation.clone_from(&held.validation);
        wanted.evaluate_every_epochs = held.evaluate_every_epochs;
        wanted.evaluate_every_steps = held.evaluate_every_steps;
    }
    let differing = differences(held, &wanted);
    if differing.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "belongs to a run with other settings: {}. Resume with the run's own settings (none need be given), or start \
         another run in another --out",
        differing.join("; ")
    );
    Err(Error::checkpoint(path, reason))
}

/// Refuses a folder that a run may not enter so, and says what it holds.
fn admit(path: &Path, entry: Entry) -> Result<Held> {
    let held = Held::look(path, LOCK_FILE)?;
    if held.is_run && entry == Entry::New && !held.is_bare() {
        return Err(Error::Config(format!(
            "{} holds a run. Continue it with --resume, replace it with --overwrite, or choose another --out",
            path.display()
        )));
    }
    if !held.is_run && !held.others.is_empty() {
        let (shown, more) = held.others.split_at(held.others.len().min(3));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        return Err(Error::Config(format!(
            "{} is not empty and no run's folder (it holds {}{more}). Choose another --out",
            path.display(),
            shown.join(", ")
        )));
    }
    let lock = path.join(LOCK_FILE);
    let process = |text: String| text.trim().is_empty() || text.trim().parse::<u32>().is_ok();
    if lock.symlink_metadata().is_ok_and(|found| !found.is_file() || found.len() > 20)
        || lock.is_file()
            && !fs::read_to_string(&lock).map_or_else(|e| e.kind() != std::io::ErrorKind::InvalidData, process)
    {
        let reason = "is not what a run writes there. Move it elsewhere, or choose another --out";
        return Err(Error::Config(format!("{} {reason}", lock.display())));
    }
    held.check(entry == Entry::Overwrite)?;
    Ok(held)
}

/// Locks the file at `path`, which the system unlocks when the process ends in whatever way.
fn lock(path: &Path) -> Result<File> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = open.map_err(Error::io(path))?;
    match try_lock(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(path).unwrap_or_default();
            let holder = holder.trim();
            let process = if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
            let folder = path.parent().unwrap_or(path).display();
            return Err(Error::Config(format!(
                "{process} is training in {folder}. Wait for it, stop it, or choose another --out"
            )));
        }
        Err(TryLockError::Error(e)) if lacks(&e) => {
            let folder = path.parent().unwrap_or(path).display();
            warn_once("locks", &format!("{folder}: its file system has no locks ({e}); start no second run there"));
        }
        Err(TryLockError::Error(e)) => return Err(Error::io(path)(e)),
    }
    // For the message above; the lock does not depend on it.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

#[cfg(test)]
mod overwriting;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{config::resolve, snapshot::sample};

    #[test]
    fn a_second_run_in_one_folder_is_refused_until_the_first_ends() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let first = RunFolder::enter(&run, Entry::New).unwrap();
        for entry in [Entry::Resume, Entry::Overwrite] {
            let error = RunFolder::enter(&run, entry).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("is training in"), "{error}");
        }
        drop(first);
        RunFolder::enter(&run, Entry::Resume).unwrap();
    }

    #[test]
    fn a_folder_that_holds_anything_is_refused_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("photo.jpg"), "x").unwrap();
        for entry in [Entry::New, Entry::Resume, Entry::Overwrite] {
            let error = RunFolder::enter(folder.path(), entry).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains("photo.jpg") && text.contains("another --out"), "{text}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn the_images_of_a_folder_do_not_include_those_of_runs_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let picture = |path: PathBuf| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::new(2, 2).save(path).unwrap();
        };
        picture(folder.path().join("a.png"));
        let run = RunFolder::enter(&folder.path().join("runs/a"), Entry::New).unwrap();
        picture(run.path().join(samples::FOLDER).join("step-2.png"));
        let images = || crate::data::open(folder.path().to_str().unwrap()).unwrap().len();
        assert_eq!(images(), 1);
        drop(run);
        assert_eq!(images(), 1, "once the run is over");
    }

    #[test]
    fn resuming_takes_the_newest_or_the_named_and_sets_later_ones_aside() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::enter(folder.path(), Entry::New).unwrap();
        [2, 4, 6].iter().for_each(|step| drop(run.checkpoints().save(&sample(*step), 9).unwrap()));
        assert_eq!(run.resume(None).unwrap().unwrap().snapshot, sample(6));
        fs::remove_file(run.checkpoints().path(6).join("state.json")).unwrap();
        let resumed = run.resume(None).unwrap().unwrap();
        assert_eq!(resumed.snapshot, sample(4));
        assert!(resumed.remarks[0].contains("passed over") && resumed.remarks[0].contains("state.json"));
        let resumed = run.resume(Some(&run.checkpoints().path(2))).unwrap().unwrap();
        assert_eq!((resumed.snapshot, resumed.remarks.len()), (sample(2), 0));
        assert!(run.checkpoints().path(6).exists(), "whoever does not go on has changed nothing");
        let aside = run.set_aside_after(2).unwrap();
        assert!(aside.len() == 2 && aside[1].contains("step-6.set-aside"), "{aside:?}");
    }

    #[test]
    fn every_differing_key_is_named_with_both_values() {
        let resolved = |text: &str| resolve(Some("nano"), None, text.parse().unwrap()).unwrap();
        let snapshot = Snapshot { config: resolved(""), ..sample(3) };
        let path = Path::new("checkpoints/step-3");
        let refusal = |text: &str| check_resumable(&snapshot, path, &resolved(text));
        let differing = [
            ("model.kind = \"mae\"", "model.kind: \"bootmae\" against \"mae\""),
            ("model.positions = \"columns\"", "model.positions: \"rows\" against \"columns\""),
            ("model.crop_share = 0.9", "model.crop_share: unset against 0.9"),
            ("model.normalise = \"imagenet\"", "model.normalise: \"inception\" against \"imagenet\""),
            ("model.weight_decay_tokens = true", "model.weight_decay_tokens: false against true"),
            ("training.schedule = \"mae\"", "training.schedule: \"bootmae\" against \"mae\""),
            ("training.warmup_epochs = 2", "training.warmup_epochs: unset against 2"),
            ("model.image_height = 64", "model.image_height: 32 against 64"),
            ("model.image_width = 64", "model.image_width: 32 against 64"),
            ("model.patch_size = 8", "model.patch_size: 4 against 8"),
            ("model.patch_size = 8", "model.masked: 48 against 12"),
            ("model.channels = 1", "model.channels: 3 against 1"),
            ("model.width = 64", "model.width: 128 against 64"),
            ("model.depth = 4", "model.depth: 6 against 4"),
            ("model.depth = 4", "model.feature_tap: 5 against 3"),
            ("model.heads = 8", "model.heads: 4 against 8"),
            ("model.pixel_decoder_width = 64", "model.pixel_decoder_width: 128 against 64"),
            ("model.decoder_depth = 1", "model.decoder_depth: 2 against 1"),
            ("model.mlp_ratio = 2", "model.mlp_ratio: 4 against 2"),
            ("model.pixel_tap = 1", "model.pixel_tap: 0 against 1"),
            ("model.feature_tap = 4", "model.feature_tap: 5 against 4"),
            ("model.layer_norm_eps = 1e-5", "model.layer_norm_eps: 0.000001 against 0.00001"),
            ("model.pixel_eps = 1e-6", "model.pixel_eps: 0.00001 against 0.000001"),
            ("model.masked = 40", "model.masked: 48 against 40"),
            ("model.block_target = 30", "model.block_target: 39 against 30"),
            ("model.block_min = 4", "model.block_min: 5 against 4"),
            ("model.block_max = 16", "model.block_max: 20 against 16"),
            ("model.block_aspect_min = 0.5", "model.block_aspect_min: 0.3 against 0.5"),
            ("model.masking = \"random\"", "model.masking: \"block\" against \"random\""),
            ("model.centre_weight = false", "model.centre_weight: true against false"),
            ("model.pixel_target = \"raw\"", "model.pixel_target: \"patch_channel\" against \"raw\""),
            ("model.cross_attention = false", "model.cross_attention: true against false"),
            ("model.feature_branch = false", "model.feature_branch: true against false"),
            ("model.feature_branch = false", "training.feature_weight: 1 against 0"),
            ("training.seed = 1", "training.seed: 0 against 1"),
            ("training.steps = 9", "training.steps: 10000 against 9"),
            ("training.batch_size = 32", "training.batch_size: 64 against 32"),
            ("training.micro_batches = 2", "training.micro_batches: 1 against 2"),
            ("training.peak_learning_rate = 1e-2", "training.peak_learning_rate: 0.001 against 0.01"),
            ("training.min_learning_rate = 0", "training.min_learning_rate: "),
            ("training.warmup_steps = 7", "training.warmup_steps: unset against 7"),
            ("training.weight_decay = 0", "training.weight_decay: 0.05 against 0"),
            ("training.beta1 = 0.8", "training.beta1: 0.9 against 0.8"),
            ("training.beta2 = 0.99", "training.beta2: 0.95 against 0.99"),
            ("training.adam_eps = 1e-6", "training.adam_eps: 1e-8 against 1e-6"),
            ("training.gradient_norm_limit = 9", "training.gradient_norm_limit: unset against 9"),
            ("training.feature_weight = 0.5", "training.feature_weight: 1 against 0.5"),
            ("training.reduction = \"tree\"", "training.reduction: \"sequence\" against \"tree\""),
            ("training.precision = \"f16\"", "training.precision: \"f32\" against \"f16\""),
            ("training.ema = \"scaled_constant\"", "training.ema: \"scaled\" against \"scaled_constant\""),
        ];
        for (text, named) in differing {
            let error = refusal(text).expect_err(text);
            let message = error.to_string();
            assert!(error.exit_code() == 6 && message.contains(named), "{text}: {message}");
            assert!(message.contains("step-3") && message.contains("--out"), "{message}");
        }
        let settings = fields_of(&snapshot.config);
        let free =
            ["wire", "init_from", "recompute", "save_every_steps", "keep_checkpoints", "sample_every_steps", "epochs"];
        for key in settings.iter().filter(|key| !free.contains(&key.as_str())) {
            assert!(
                differing.iter().any(|(_, named)| named.contains(&format!(".{key}:"))),
                "{key} is not in the table"
            );
        }
        for text in [
            "data.source = \"elsewhere\"",
            "data.loader_threads = 3",
            "data.max_bad_fraction = 0.5",
            "training.recompute = \"blocks\"",
            "training.wire = \"f16\"",
            "training.save_every_steps = 3",
            "training.keep_checkpoints = 9",
            "training.sample_every_steps = 0",
            "training.init_from = \"gone\"",
        ] {
            refusal(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    /// The names of all settings of the model and of training.
    fn fields_of(config: &RunConfig) -> Vec<String> {
        let tree = serde_json::to_value(config).unwrap();
        let of = |section: &str| tree[section].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        [of("model"), of("training")].concat()
    }

    #[test]
    fn a_run_of_version_1_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/checkpoint_1/checkpoint.safetensors");
        fs::copy(fixture, folder.path().join(SINGLE_FILE)).unwrap();
        let run = RunFolder::enter(folder.path(), Entry::Resume).unwrap();
        let resumed = run.resume(None).unwrap().unwrap();
        assert_eq!(resumed.snapshot.step, 2);
        run.checkpoints().save(&resumed.snapshot, 1).unwrap();
        let again = run.resume(None).unwrap().unwrap();
        assert_eq!((again.snapshot.groups == resumed.snapshot.groups, again.path), (true, run.checkpoints().path(2)));
    }
}
