//! The files of a checkpoint in memory, and as a tar archive: how a page saves and opens them.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::{
    files::{CHECKPOINT_FILES as NAMES, Files, Sink},
    single,
    weights::Model,
    whole::{put, take},
};
use crate::{
    error::{Error, Result},
    formats::{foreign::what_it_is, tensors},
    train::snapshot::Snapshot,
};

/// The files of a checkpoint, or some of them.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// Where they come from, for messages.
    place: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
}

impl Sink for Bundle {
    fn put(&mut self, name: &str, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let mut bytes = Vec::new();
        write(&mut bytes).map_err(Error::io(self.path(name)))?;
        self.files.insert(name.into(), bytes);
        Ok(())
    }
}

impl Files for Bundle {
    fn open(&self, name: &str) -> Result<(Box<dyn Read + '_>, u64), String> {
        let bytes = self.files.get(name).ok_or("there is no such file")?;
        Ok((Box::new(bytes.as_slice()), bytes.len() as u64))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }
}

impl Bundle {
    /// The files of a snapshot.
    pub fn of(snapshot: &Snapshot) -> Result<Bundle> {
        let mut bundle = Bundle { place: format!("step-{}", snapshot.step).into(), ..Bundle::default() };
        put(snapshot, &mut bundle)?;
        Ok(bundle)
    }

    /// Adds a file, or all files of an archive. Files of other names are refused.
    pub fn add(&mut self, name: &str, bytes: Vec<u8>) -> Result<()> {
        if is_archive(&bytes) {
            self.files.extend(Bundle::unpack(&bytes, Path::new(name))?.files);
            self.place = name.into();
            return Ok(());
        }
        let own = Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !NAMES.contains(&own) {
            let reason = format!("no file of a checkpoint; it has {}, or is one .tar of them", NAMES.join(", "));
            return Err(Error::checkpoint(name, reason));
        }
        self.files.insert(own.into(), bytes);
        Ok(())
    }

    /// The checkpoint that the files make up.
    pub fn snapshot(&self) -> Result<Snapshot> {
        take(self)
    }

    /// The files as a tar archive of the folder `step-N`. Equal files give equal bytes.
    pub fn pack(&self) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in &self.files {
            let mut head = tar::Header::new_ustar();
            head.set_size(bytes.len() as u64);
            head.set_mode(0o644);
            archive.append_data(&mut head, self.place.join(name), bytes.as_slice())?;
        }
        archive.into_inner()
    }

    /// The files of a checkpoint in an archive, in whatever folder; other entries are passed over.
    pub(super) fn unpack(archive: &[u8], place: &Path) -> Result<Bundle> {
        let fail = |error: io::Error| Error::checkpoint(place, format!("a damaged archive: {error}"));
        let mut bundle = Bundle { place: place.into(), ..Bundle::default() };
        for entry in tar::Archive::new(archive).entries().map_err(fail)? {
            let mut entry = entry.map_err(fail)?;
            let path = entry.path_bytes().into_owned();
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let Some(name) = NAMES.into_iter().find(|known| known.as_bytes() == name) else { continue };
            if bundle.files.contains_key(name) {
                return Err(Error::checkpoint(place, format!("two files named {name}: more than one checkpoint")));
            }
            // A sparse entry could claim any length.
            if !entry.header().entry_type().is_file() {
                return Err(Error::checkpoint(place, format!("{name} in the archive is no plain file")));
            }
            let mut bytes = Vec::new();
            // The archive itself is in memory, so a plain entry cannot be longer than it.
            entry.read_to_end(&mut bytes).map_err(fail)?;
            bundle.files.insert(name.into(), bytes);
        }
        Ok(bundle)
    }
}

impl Model {
    /// The weights in a file that is in memory: a model file, or a checkpoint's archive; `name` is for messages.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Model> {
        if is_archive(bytes) {
            return Bundle::unpack(bytes, Path::new(name))?.snapshot().map(Model::of);
        }
        if let Some(what) = what_it_is(bytes) {
            return Err(Error::checkpoint(name, format!("no safetensors but {what}")));
        }
        let file = tensors::parse(bytes).map_err(|reason| Error::checkpoint(name, reason))?;
        match file.metadata.get("format").map(String::as_str) {
            Some("bootmae model") => Model::of_file(Path::new(name), file),
            Some(single::FORMAT) => single::from_tensors(file).map(Model::of).map_err(|e| Error::checkpoint(name, e)),
            _ => Err(Error::checkpoint(name, "a safetensors file, but none of bootmae's weights")),
        }
    }
}

/// Whether a file begins as a tar archive does.
pub(super) fn is_archive(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        checkpoint::{self, files::STATE_FILE},
        train::snapshot::sample,
    };

    #[test]
    fn an_archive_gives_the_snapshot_back_natively_and_in_memory() {
        let bytes = Bundle::of(&sample(5)).unwrap().pack().unwrap();
        assert_eq!(bytes, Bundle::of(&sample(5)).unwrap().pack().unwrap());
        let mut bundle = Bundle::default();
        bundle.add("step-5.tar", bytes.clone()).unwrap();
        assert_eq!(bundle.snapshot().unwrap(), sample(5));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.tar");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(checkpoint::read_any(&path).unwrap(), sample(5));
        assert_eq!(checkpoint::read_model(&path).unwrap(), Model::of(sample(5)));
        tar::Archive::new(&bytes[..]).unpack(folder.path()).unwrap();
        assert_eq!(checkpoint::read(&folder.path().join("step-5")).unwrap(), sample(5));
    }

    #[test]
    fn a_state_that_says_nothing_of_the_images_is_read() {
        let state = |bundle: &Bundle| String::from_utf8(bundle.files[STATE_FILE].clone()).unwrap();
        assert!(state(&Bundle::of(&sample(5)).unwrap()).contains("\"collection\""));
        let silent = Snapshot { collection: None, ..sample(5) };
        let bundle = Bundle::of(&silent).unwrap();
        assert!(!state(&bundle).contains("\"collection\""));
        assert_eq!(bundle.snapshot().unwrap(), silent);
    }

    #[test]
    fn the_files_of_a_folder_make_up_a_checkpoint() {
        let whole = Bundle::of(&sample(5)).unwrap();
        let mut bundle = Bundle::default();
        for (name, bytes) in &whole.files {
            assert!(bundle.snapshot().is_err());
            bundle.add(&format!("run/step-5/{name}"), bytes.clone()).unwrap();
        }
        assert_eq!(bundle.snapshot().unwrap(), sample(5));
        bundle.files.get_mut(STATE_FILE).unwrap()[9] ^= 1;
        assert!(bundle.snapshot().unwrap_err().to_string().contains("BLAKE3"));
        assert!(bundle.add("photo.jpg", vec![1]).unwrap_err().to_string().contains("no file of a checkpoint"));
    }

    #[test]
    fn a_sparse_entry_is_refused_before_it_is_read() {
        let mut head = tar::Header::new_gnu();
        head.set_entry_type(tar::EntryType::GNUSparse);
        head.set_path("step-5/state.json").unwrap();
        head.set_size(0);
        let claimed = 1u64 << 40;
        let gnu = head.as_gnu_mut().unwrap();
        gnu.set_real_size(claimed);
        gnu.sparse[0].set_offset(claimed);
        gnu.sparse[0].set_length(0);
        head.set_cksum();
        let archive = [&head.as_bytes()[..], &[0; 1024]].concat();
        let reason = Bundle::unpack(&archive, Path::new("x")).unwrap_err().to_string();
        assert!(reason.contains("state.json in the archive is no plain file"), "{reason}");
    }

    #[test]
    fn every_cut_archive_is_refused() {
        let bytes = Bundle::of(&sample(5)).unwrap().pack().unwrap();
        let end = bytes.len() - 1024;
        for length in (0..end).step_by(97) {
            assert!(Model::parse("x", &bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
    }
}
