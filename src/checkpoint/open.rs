//! Whatever a user names as a checkpoint.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use super::{
    bundle::{self, Bundle},
    files::{MODEL_FILE, TEACHER_FILE, named_tensors},
    folder::read,
    manifest::{self, Manifest},
    single,
    store::Checkpoints,
    weights::Model,
    whole::checked,
};
use crate::{
    error::{Error, Result},
    formats::{
        foreign::what_it_is,
        tensors::{self, TensorFile},
    },
    train::snapshot::Snapshot,
};

/// Reads the weights at `path`: a run folder (its newest complete checkpoint), a checkpoint folder, a model file, a
/// checkpoint in a tar archive, or one of version 1.
pub fn read_model(path: &Path) -> Result<Model> {
    if !path.is_dir() {
        if let Some(bundle) = archive(path)? {
            return bundle.snapshot().map(Model::of);
        }
        let file = read_tensors(path)?;
        return match file.metadata.get("format").map(String::as_str) {
            Some("bootmae model") => Model::of_file(path, file),
            Some(single::FORMAT) => single::from_tensors(file).map(Model::of).map_err(|e| Error::checkpoint(path, e)),
            Some(other @ ("bootmae teacher" | "bootmae optimizer")) => {
                Err(Error::checkpoint(path, format!("a {other} file; give {MODEL_FILE}, which lies beside it")))
            }
            _ => Err(Error::checkpoint(path, "a safetensors file, but not a bootmae checkpoint")),
        };
    }
    if path.join(manifest::FILE).is_file() {
        let manifest = Manifest::read(&path)?;
        let mut model = Model::of_file(&path.join(MODEL_FILE), checked(&path, MODEL_FILE, &manifest)?)?;
        // A folder that was thinned out to the student's weights is good for those.
        if path.join(TEACHER_FILE).exists() {
            let tensors = named_tensors(checked(&path, TEACHER_FILE, &manifest)?);
            model.teacher = Some(tensors.map_err(|reason| Error::checkpoint(path.join(TEACHER_FILE), reason))?);
        }
        return Ok(model);
    }
    let found = Checkpoints::of(path).newest()?;
    found.map(|found| Model::of(found.snapshot)).ok_or_else(|| {
        let names = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names.truncate(3);
        let held = if names.is_empty() { "nothing".into() } else { names.join(", ") };
        let reason = format!(
            "a folder without a checkpoint (it holds {held}); give a run folder, a checkpoint folder or a model file"
        );
        Error::checkpoint(path, reason)
    })
}

/// Reads a whole checkpoint: a checkpoint folder, a run folder's newest, a tar archive, or a file of version 1.
pub fn read_any(path: &Path) -> Result<Snapshot> {
    if !path.is_dir() {
        return match archive(path)? {
            Some(bundle) => bundle.snapshot(),
            None => single::from_tensors(read_tensors(path)?).map_err(|reason| Error::checkpoint(path, reason)),
        };
    }
    if path.join(manifest::FILE).is_file() || Checkpoints::of(path).steps().is_empty() {
        return read(path);
    }
    let found = Checkpoints::of(path).newest()?;
    found.map(|found| found.snapshot).ok_or_else(|| Error::checkpoint(path, "holds no checkpoint"))
}

/// The checkpoint in a tar archive; none if the file is something else.
fn archive(path: &Path) -> Result<Option<Bundle>> {
    let file = fs::File::open(path).map_err(Error::io(path))?;
    let mut bytes = Vec::new();
    Read::take(&file, 512).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if !bundle::is_archive(&bytes) {
        return Ok(None);
    }
    Read::read_to_end(&mut &file, &mut bytes).map_err(Error::io(path))?;
    Bundle::unpack(&bytes, path).map(Some)
}

/// The tensors of a file that no manifest lists.
fn read_tensors(path: &Path) -> Result<TensorFile> {
    let file = fs::File::open(path).map_err(Error::io(path))?;
    let found = file.metadata().map_err(Error::io(path))?;
    if !found.is_file() {
        return Err(Error::checkpoint(path, "not a file"));
    }
    let mut file = io::BufReader::new(file);
    let start = io::BufRead::fill_buf(&mut file).map_err(Error::io(path))?;
    if let Some(what) = what_it_is(start) {
        return Err(Error::checkpoint(path, format!("no safetensors but {what}")));
    }
    tensors::read(file, found.len()).map_err(|reason| Error::checkpoint(path, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint::folder::write, train::snapshot::sample};

    #[test]
    fn a_checkpoint_folder_brings_its_teacher_along() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = sample(7);
        write(&snapshot, folder.path()).unwrap();
        let model = read_model(folder.path()).unwrap();
        assert!(model.teacher.is_some());
        assert_eq!(model, Model::of(snapshot));
        fs::remove_file(folder.path().join(TEACHER_FILE)).unwrap();
        assert_eq!(read_model(folder.path()).unwrap(), Model { teacher: None, ..model });
    }
}
