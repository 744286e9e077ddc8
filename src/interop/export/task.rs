//! What an exported network is for.

use crate::model::Pool;

/// Which features of an image are computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Features {
    /// Blocks of the encoder that are run.
    pub blocks: usize,
    /// Whether every token passes through the encoder's final norm before pooling.
    pub final_norm: bool,
    /// What is made one vector of the tokens.
    pub pool: Pool,
    /// Whether the pooled vector passes through a LayerNorm without gain and bias.
    pub plain_norm: bool,
}

/// What is exported of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Task {
    /// The encoder, for features of images.
    Features(Features),
    /// A fine-tuned network with its head.
    Classes,
    /// The encoder with what pretraining put on it.
    Pretraining,
}
