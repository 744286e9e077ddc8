//! A trained network as files that other programs open.

mod card;
mod hugging_face;
pub mod onnx;
mod package;
mod preprocessing;
mod published;
mod source;
mod task;
mod tensors;
#[cfg(test)]
mod tests;
mod timm;

pub use hugging_face::package as hugging_face;
pub use package::Package;
pub use preprocessing::preprocessor;
pub use published::{bootmae, mae};
pub use source::Source;
pub use task::{Features, Task};
pub use tensors::{Foreign, fits_half};
pub use timm::package as timm;

use crate::{
    error::{Error, Result},
    model::Pool,
};

/// Features as they are made without further settings; blocks are to be set.
const ENCODER: Features = Features { blocks: 0, final_norm: false, pool: Pool::Mean, plain_norm: false };

/// What is said where a format has a bias of keys.
const KEY_BIAS: &str = "keys have no bias here: zeros stand there, which change nothing";

/// Refuses heads that do not fill a width; a program called `title` has none such.
fn even_heads(width: usize, heads: usize, title: &str) -> Result<()> {
    match width % heads {
        0 => Ok(()),
        _ => Err(Error::Config(format!(
            "{title} has no {heads} heads of {} in {width} columns; --format own, bootmae or onnx can say it",
            width / heads
        ))),
    }
}
