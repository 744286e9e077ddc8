//! Checkpoints of other programs as models of this one: BootMAE's and MAE's own, timm's, DeiT's, Hugging Face's.
//!
//! A file is material from outside: its tensors alone say how large a network is, what is said beside them must agree, and a
//! tensor that is not understood is an error, since without it the network might be another one.

#[cfg(not(target_arch = "wasm32"))]
pub mod about;
mod asked;
#[cfg(not(target_arch = "wasm32"))]
pub mod export;
#[cfg(not(target_arch = "wasm32"))]
mod files;
mod import;
mod known;
mod listing;
mod plan;
mod positions;
mod settings;
mod sizes;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
pub mod worlds;

use std::{io, rc::Rc};

use crate::{
    checkpoint::Model,
    error::{Error, Result},
    formats::weights::{ReadAt, WeightFile},
};

pub use asked::{Asked, Imported};
pub use known::Description;
pub use worlds::World;
#[cfg(not(target_arch = "wasm32"))]
pub use {
    about::About,
    files::{about, open},
};

/// The network in a file that is in memory: this program's weights, or of others a file of torch or safetensors; `name` is
/// for messages.
///
/// # Errors
/// [`Error::Checkpoint`] with what is wrong with the file.
pub fn parse(name: &str, bytes: Vec<u8>, asked: &Asked) -> Result<Imported> {
    if !may_be_foreign(&bytes) {
        return Imported::own(Model::parse(name, &bytes)?, asked);
    }
    let fail = |reason| Error::checkpoint(name, reason);
    let shared = Shared(Rc::new(bytes));
    let file = WeightFile::open(Box::new(shared.clone())).map_err(fail)?;
    if is_own(&file) {
        return Imported::own(Model::parse(name, &shared.0)?, asked);
    }
    import::import(&file, &known::Known::default(), asked).map_err(fail)
}

/// Bytes with more than one reader.
#[derive(Clone)]
struct Shared(Rc<Vec<u8>>);

impl ReadAt for Shared {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, into)
    }
}

/// Whether a file that begins so can be of weights of another program: torch's zip or pickle, or safetensors.
fn may_be_foreign(start: &[u8]) -> bool {
    matches!(start, [b'P', b'K', 3, 4, ..] | [0x80, 2, ..]) || start.get(8) == Some(&b'{')
}

/// Whether this program wrote it in a format of its own.
fn is_own(file: &WeightFile) -> bool {
    file.metadata().get("format").is_some_and(|format| format.starts_with("bootmae"))
}
