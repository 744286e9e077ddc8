//! Weights in bytes that can be read anywhere, of which only what is needed is read: how a page opens a file.

use std::rc::Rc;

use super::{
    asked::{Asked, Imported},
    import, is_own,
    known::{Beside, Known},
    may_be_foreign,
};
use crate::{
    checkpoint::Model,
    error::{Error, Result},
    formats::weights::{ReadAt, WeightFile},
};

/// Bytes that tell whether a file can be another program's.
const START: u64 = 16;

/// A file of weights that is open: its tensors are listed and their values not read.
pub struct Opened {
    name: String,
    held: Held,
}

enum Held {
    /// This program's weights, or a checkpoint's archive.
    Own(Rc<dyn ReadAt>),
    /// Another program's, with what is said beside them.
    Foreign(Box<(WeightFile, Known)>),
}

impl Opened {
    /// Opens a file of this program, or one of torch or safetensors, with what its folder says beside it; `name` is for
    /// messages.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with what is wrong with the file.
    pub fn new(name: &str, source: Rc<dyn ReadAt>, beside: Option<&Beside>) -> Result<Opened> {
        let fail = |reason| Error::checkpoint(name, reason);
        let mut start = vec![0; source.len().min(START) as usize];
        source.read_at(0, &mut start).map_err(|error| fail(error.to_string()))?;
        let held = match may_be_foreign(&start) {
            false => Held::Own(source),
            true => match WeightFile::open(Box::new(source.clone())).map_err(fail)? {
                file if is_own(&file) => Held::Own(source),
                file => {
                    let known = beside.map(Known::beside).transpose().map_err(fail)?;
                    Held::Foreign(Box::new((file, known.unwrap_or_default())))
                }
            },
        };
        Ok(Opened { name: name.into(), held })
    }

    /// The most bytes of memory that [`Opened::read`] takes.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where no network is found in the file.
    pub fn bytes(&self, asked: &Asked) -> Result<u64> {
        match &self.held {
            // The file itself is read before its tensors.
            Held::Own(source) => Ok(2 * source.len()),
            Held::Foreign(file) => {
                import::bytes(&file.0, &file.1, asked).map_err(|reason| Error::checkpoint(&self.name, reason))
            }
        }
    }

    /// Reads the network.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with what is wrong with the file, [`Error::Config`] where something is asked for that this
    /// program's own files say themselves.
    pub fn read(&self, asked: &Asked) -> Result<Imported> {
        let fail = |reason| Error::checkpoint(&self.name, reason);
        match &self.held {
            Held::Own(source) => {
                let mut bytes = vec![0; usize::try_from(source.len()).map_err(|error| fail(error.to_string()))?];
                source.read_at(0, &mut bytes).map_err(|error| fail(error.to_string()))?;
                Imported::own(Model::parse(&self.name, &bytes)?, asked)
            }
            Held::Foreign(file) => import::import(&file.0, &file.1, asked).map_err(fail),
        }
    }
}
