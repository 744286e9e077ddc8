//! The names of facebookresearch/mae, timm and DeiT.

use super::table::{Qkv, Table};

pub(super) const TABLE: Table = Table {
    places: &[
        ("patch_embed.proj.", "patch_embed.proj."),
        ("cls_token", "cls_token"),
        ("blocks.", "blocks."),
        ("norm.", "norm."),
        ("fc_norm.", "fc_norm."),
        ("head.", "head."),
        ("pixel_decoder.embed.", "decoder_embed."),
        ("pixel_decoder.mask_token", "mask_token"),
        ("pixel_decoder.blocks.", "decoder_blocks."),
        ("pixel_decoder.norm.", "decoder_norm."),
        ("pixel_decoder.head.", "decoder_pred."),
    ],
    leaves: &[],
    qkv: Qkv::Fused,
    pixel_rows: true,
    positions: "pos_embed",
    decoder_positions: "decoder_pos_embed",
    optional: &["decoder_", "mask_token"],
};
