//! The shape of a table of names.

/// The names of a world.
pub(super) struct Table {
    /// What a parameter's name begins with, here and there.
    pub(super) places: &'static [(&'static str, &'static str)],
    /// The same of what follows the number of a block.
    pub(super) leaves: &'static [(&'static str, &'static str)],
    /// How q, k and v stand.
    pub(super) qkv: Qkv,
    /// Whether the pixel head's rows are in another order.
    pub(super) pixel_rows: bool,
    /// The encoder's positions, with the class token's.
    pub(super) positions: &'static str,
    /// The pixel decoder's positions, with the class token's.
    pub(super) decoder_positions: &'static str,
    /// What the names of decoders, mask tokens and of what no feature depends on begin with.
    pub(super) optional: &'static [&'static str],
}

/// How a world keeps queries, keys and values, and their biases.
pub(super) enum Qkv {
    /// As here: one matrix, and biases `attn.q_bias` and `attn.v_bias`.
    Own,
    /// One matrix and one bias, `attn.qkv.bias`.
    Fused,
    /// Three layers of these names.
    Apart([&'static str; 3]),
}
