//! The tokens that enter a block.

use crate::{graph::Tensor, ops::FillMasked};

/// The tokens of a batch of images.
#[derive(Clone, Copy)]
pub enum Tokens<'g> {
    /// Each by itself, `[batch, tokens, width]`.
    Each(Tensor<'g>),
    /// Each masked patch once for all images that mask it.
    Shared {
        /// Where the rows stand.
        fill: FillMasked,
        /// `[batch * head + patches, width]`.
        rows: Tensor<'g>,
        /// `[batch, patches]`, masked patches last.
        order: Tensor<'g>,
    },
}

impl<'g> Tokens<'g> {
    /// What a function of single tokens makes of them.
    pub fn map(self, f: impl FnOnce(Tensor<'g>) -> Tensor<'g>) -> Tokens<'g> {
        match self {
            Tokens::Each(x) => Tokens::Each(f(x)),
            Tokens::Shared { fill, rows, order } => Tokens::Shared { fill, rows: f(rows), order },
        }
    }

    /// All of them, `[batch, tokens, width]`.
    #[track_caller]
    pub fn all(self) -> Tensor<'g> {
        match self {
            Tokens::Each(x) => x,
            Tokens::Shared { fill, rows, order } => rows.then(fill, &[order]),
        }
    }
}
