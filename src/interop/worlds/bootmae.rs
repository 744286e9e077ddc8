//! The names of LightDXY/BootMAE, whose encoder has BEiT's. `_1` is the feature branch.

use super::table::{Qkv, Table};

pub(super) const TABLE: Table = Table {
    places: &[
        ("patch_embed.proj.", "patch_embed.proj."),
        ("cls_token", "cls_token"),
        ("blocks.", "blocks."),
        ("norm.", "norm."),
        ("fc_norm.", "fc_norm."),
        ("head.", "head."),
        ("pixel_decoder.embed.", "down."),
        ("pixel_decoder.mask_token", "mask_token"),
        ("pixel_decoder.blocks.", "decode_blocks."),
        ("pixel_decoder.norm.", "decode_norm."),
        ("pixel_decoder.head.", "lm_head.proj."),
        ("feature_decoder.embed.", "down_1."),
        ("feature_decoder.mask_token", "mask_token_1"),
        ("feature_decoder.blocks.", "decode_blocks_1."),
        ("feature_decoder.norm.", "decode_norm_1."),
        ("feature_decoder.head.", "lm_head_1."),
    ],
    // Norms 1 and 2 stand before self-attention and MLP, 3 and 4 before the queries and the memory of cross-attention.
    leaves: &[("norm_q.", "norm3."), ("norm_kv.", "norm4."), ("cross_attn.", "c_attn.")],
    qkv: Qkv::Own,
    pixel_rows: false,
    positions: "pos_embed",
    decoder_positions: "de_pos_embed",
    optional: &["decode_", "mask_token", "down.", "down_1.", "lm_head", "de_pos_embed"],
};
