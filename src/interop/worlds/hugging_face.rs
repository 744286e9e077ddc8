//! The names of Hugging Face's `vit` and `vit_mae`: those in files that Transformers 4 writes, without `vit.` in front.

use super::table::{Qkv, Table};

pub(super) const TABLE: Table = Table {
    places: &[
        ("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
        ("cls_token", "embeddings.cls_token"),
        ("blocks.", "encoder.layer."),
        ("norm.", "layernorm."),
        ("head.", "classifier."),
        ("pixel_decoder.embed.", "decoder.decoder_embed."),
        ("pixel_decoder.mask_token", "decoder.mask_token"),
        ("pixel_decoder.blocks.", "decoder.decoder_layers."),
        ("pixel_decoder.norm.", "decoder.decoder_norm."),
        ("pixel_decoder.head.", "decoder.decoder_pred."),
    ],
    leaves: &[
        ("norm1.", "layernorm_before."),
        ("norm2.", "layernorm_after."),
        ("attn.proj.", "attention.output.dense."),
        ("mlp.fc1.", "intermediate.dense."),
        ("mlp.fc2.", "output.dense."),
    ],
    qkv: Qkv::Apart(["attention.attention.query", "attention.attention.key", "attention.attention.value"]),
    pixel_rows: true,
    positions: "embeddings.position_embeddings",
    decoder_positions: "decoder.decoder_pos_embed",
    // The pooler is a layer behind the class token that neither features nor classifiers use.
    optional: &["decoder.", "embeddings.mask_token", "pooler."],
};

/// What blocks are called in memory of Transformers 5, and in files of version 4.
const SPELLINGS: [(&str, &str); 6] = [
    ("attention.q_proj.", "attention.attention.query."),
    ("attention.k_proj.", "attention.attention.key."),
    ("attention.v_proj.", "attention.attention.value."),
    ("attention.o_proj.", "attention.output.dense."),
    ("mlp.fc1.", "intermediate.dense."),
    ("mlp.fc2.", "output.dense."),
];

/// The places of blocks, in other spellings and in that of [`TABLE`].
const BLOCKS: [(&str, &str); 4] = [
    ("layers.", "encoder.layer."),
    ("encoder.layer.", "encoder.layer."),
    ("decoder.decoder_layers.", "decoder.decoder_layers."),
    ("decoder.decoder_encoder.layer.", "decoder.decoder_layers."),
];

/// A name in the spelling of [`TABLE`].
pub(super) fn spelled(name: &str) -> String {
    let name = name.strip_prefix("vit.").unwrap_or(name);
    let Some((rest, place)) = BLOCKS.iter().find_map(|(other, place)| Some((name.strip_prefix(other)?, place))) else {
        return name.into();
    };
    let Some((block, leaf)) = rest.split_once('.') else { return name.into() };
    let leaf = SPELLINGS
        .iter()
        .find_map(|(other, own)| Some(format!("{own}{}", leaf.strip_prefix(other)?)))
        .unwrap_or_else(|| leaf.into());
    format!("{place}{block}.{leaf}")
}
