//! Layers over named parameters: the parts that encoder and decoders are made of.

mod attention;
mod block;
mod layers;
mod params;
mod pos_embed;
mod tokens;

pub use attention::{cross_attention, self_attention};
pub use block::{DropPath, Tail, decoder_block, encoder_block, encoder_block_with};
pub use layers::{layer_norm, linear, mlp};
pub use params::{Init, Layout, Param, Params, Scope, Shard};
pub use pos_embed::{PositionOrder, PositionResize, resize_positions, sincos};
pub use tokens::Tokens;
