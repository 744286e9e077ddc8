//! What fixtures call things.

use crate::model::config::Kind;

/// The name of a parameter in fixtures: `blocks.0.norm1.weight` is `enc.0.ln1.g`.
pub fn fixture_name(kind: Kind, name: &str) -> String {
    let mut parts: Vec<&str> = name.split('.').collect();
    let norm = parts.len() >= 2 && parts[parts.len() - 2].starts_with("norm");
    if let Some(leaf) = parts.last_mut() {
        *leaf = match *leaf {
            "weight" if norm => "g",
            "weight" => "w",
            "bias" => "b",
            "cls_token" => "cls",
            "mask_token" => "mask",
            other => other,
        };
    }
    let branch = kind == Kind::Bootmae && parts[0].ends_with("_decoder");
    let named = parts.iter().filter(|part| **part != "blocks").map(|part| match *part {
        "pixel_decoder" if kind == Kind::Mae => "dec",
        "pixel_decoder" => "pix",
        "feature_decoder" => "feat",
        "embed" => "in",
        "patch_embed" => "patch",
        "norm1" if branch => "ln_self",
        "norm2" if branch => "ln_mlp",
        "norm_q" => "ln_q",
        "norm_kv" => "ln_kv",
        "norm1" => "ln1",
        "norm2" => "ln2",
        "attn" if branch => "self",
        "cross_attn" => "cross",
        other => other,
    });
    let joined = named.collect::<Vec<_>>().join(".").replace("patch.proj", "patch");
    if parts[0] == "blocks" || parts[0] == "norm" { format!("enc.{joined}") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_map_to_the_fixtures_own() {
        let pairs = [
            ("patch_embed.proj.weight", "patch.w"),
            ("cls_token", "cls"),
            ("blocks.3.norm1.weight", "enc.3.ln1.g"),
            ("blocks.0.attn.proj.bias", "enc.0.attn.proj.b"),
            ("norm.bias", "enc.norm.b"),
            ("pixel_decoder.embed.weight", "pix.in.w"),
            ("pixel_decoder.mask_token", "pix.mask"),
            ("feature_decoder.blocks.1.norm_kv.weight", "feat.1.ln_kv.g"),
            ("pixel_decoder.blocks.0.attn.q_bias", "pix.0.self.q_bias"),
            ("pixel_decoder.blocks.0.cross_attn.kv.weight", "pix.0.cross.kv.w"),
            ("feature_decoder.norm.weight", "feat.norm.g"),
            ("pixel_decoder.head.weight", "pix.head.w"),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(fixture_name(Kind::Bootmae, ours), theirs);
        }
        let pairs = [
            ("blocks.0.norm1.weight", "enc.0.ln1.g"),
            ("norm.bias", "enc.norm.b"),
            ("pixel_decoder.embed.weight", "dec.in.w"),
            ("pixel_decoder.mask_token", "dec.mask"),
            ("pixel_decoder.blocks.1.norm2.weight", "dec.1.ln2.g"),
            ("pixel_decoder.blocks.0.attn.v_bias", "dec.0.attn.v_bias"),
            ("pixel_decoder.norm.weight", "dec.norm.g"),
            ("pixel_decoder.head.bias", "dec.head.b"),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(fixture_name(Kind::Mae, ours), theirs);
        }
    }
}
