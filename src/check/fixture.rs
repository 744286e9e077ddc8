//! The network that a fixture was made with.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::config::{Masking, ModelConfig, PixelTarget};

/// The configuration of a fixture file, whose fields have the names of the reference implementation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceConfig {
    image: usize,
    patch: usize,
    dim: usize,
    depth: usize,
    heads: usize,
    pix_dim: usize,
    dec_depth: usize,
    mlp: usize,
    low_tap: usize,
    high_tap: usize,
    n_mask: usize,
    n_block: usize,
    block_min: usize,
    block_max: usize,
    aspect_min: f32,
    ln_eps: f32,
    pix_eps: f32,
    centre_weight: bool,
}

/// The configuration of a fixture of MAE.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaeConfig {
    image: usize,
    patch: usize,
    dim: usize,
    depth: usize,
    heads: usize,
    dec_dim: usize,
    dec_depth: usize,
    dec_heads: usize,
    mlp: usize,
    mask_ratio: f64,
    ln_eps: f32,
    norm_pix: bool,
    pix_eps: f32,
}

/// The largest size in a fixture's configuration: fixtures are small, and then no count of patches overflows.
const LARGEST_SIZE: usize = 4096;

/// The network that a fixture file was made with: a square RGB image, masking and everything else as published, taps as
/// given; MAE for a `kind` that begins with `mae`. Refuses fields that are missing or unknown, sizes that [`ModelConfig::check`] refuses and sizes above
/// 4,096.
pub fn fixture_config(metadata: &BTreeMap<String, String>) -> Result<ModelConfig, String> {
    let text = metadata.get("config").ok_or("no `config` in the metadata")?;
    let kind: String = serde_json::from_str(metadata.get("kind").map_or("\"step\"", |kind| kind)).unwrap_or_default();
    if kind.starts_with("mae") {
        return mae_config(text);
    }
    let c: ReferenceConfig = serde_json::from_str(text).map_err(|e| format!("`config` in the metadata: {e}"))?;
    refuse_large(&[c.image, c.patch, c.dim, c.depth, c.heads, c.pix_dim, c.dec_depth, c.mlp])?;
    let config = ModelConfig {
        image_height: c.image,
        image_width: c.image,
        channels: 3,
        patch_size: c.patch,
        width: c.dim,
        depth: c.depth,
        heads: c.heads,
        pixel_decoder_width: c.pix_dim,
        decoder_depth: c.dec_depth,
        mlp_ratio: c.mlp,
        pixel_tap: c.low_tap,
        feature_tap: c.high_tap,
        layer_norm_eps: c.ln_eps,
        pixel_eps: c.pix_eps,
        masked: c.n_mask,
        block_target: c.n_block,
        block_min: c.block_min,
        block_max: c.block_max,
        block_aspect_min: c.aspect_min,
        masking: Masking::Block,
        centre_weight: c.centre_weight,
        pixel_target: PixelTarget::PatchChannel,
        ..ModelConfig::preset("nano").map_err(|e| e.to_string())?
    };
    config.check().map_err(|e| e.to_string())?;
    Ok(config)
}

fn mae_config(text: &str) -> Result<ModelConfig, String> {
    let c: MaeConfig = serde_json::from_str(text).map_err(|e| format!("`config` in the metadata: {e}"))?;
    refuse_large(&[c.image, c.patch, c.dim, c.depth, c.heads, c.dec_dim, c.dec_depth, c.dec_heads, c.mlp])?;
    if !(0.0..1.0).contains(&c.mask_ratio) || c.pix_eps != PixelTarget::MAE_EPS {
        return Err(format!("`config` in the metadata: mask_ratio {}, pix_eps {}", c.mask_ratio, c.pix_eps));
    }
    let config = ModelConfig {
        width: c.dim,
        depth: c.depth,
        heads: c.heads,
        decoder_heads: Some(c.dec_heads),
        pixel_decoder_width: c.dec_dim,
        decoder_depth: c.dec_depth,
        mlp_ratio: c.mlp,
        feature_tap: c.depth.saturating_sub(1),
        layer_norm_eps: c.ln_eps,
        pixel_target: if c.norm_pix { PixelTarget::Patch } else { PixelTarget::Raw },
        ..ModelConfig::preset("mae-nano").map_err(|e| e.to_string())?.with_size(c.image, c.image, c.patch)
    };
    // MAE cuts the number of visible patches off, with the rounding of its product.
    let visible = (config.patches() as f64 * (1.0 - c.mask_ratio)) as usize;
    let config = config.clone().with_masked(config.patches() - visible);
    config.check().map_err(|e| e.to_string())?;
    Ok(config)
}

/// Refuses sizes that no fixture has.
pub(super) fn refuse_large(sizes: &[usize]) -> Result<(), String> {
    match sizes.iter().find(|size| **size > LARGEST_SIZE) {
        Some(size) => Err(format!("`config` in the metadata: a size of {size}; at most {LARGEST_SIZE} are supported")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixture_names_its_network() {
        let text = r#"{"image": 40, "patch": 8, "dim": 48, "depth": 3, "heads": 6, "pix_dim": 20, "dec_depth": 2,
            "mlp": 4, "low_tap": 2, "high_tap": 1, "n_mask": 19, "n_block": 15, "block_min": 3, "block_max": 8,
            "aspect_min": 0.3, "ln_eps": 1e-06, "pix_eps": 1e-05, "centre_weight": true}"#;
        let config = |text: &str| fixture_config(&BTreeMap::from([("config".into(), text.into())]));
        let tiny = config(text).unwrap();
        assert_eq!((tiny.patches(), tiny.visible(), tiny.pixel_decoder_width), (25, 6, 20));
        assert_eq!((tiny.pixel_tap, tiny.feature_tap), (2, 1), "taps are taken as given");
        assert_eq!((tiny.layer_norm_eps, tiny.pixel_eps, tiny.block_aspect_min), (1e-6, 1e-5, 0.3));
        assert!(config(&text.replace("\"mlp\"", "\"mpl\"")).unwrap_err().contains("mpl"));
        assert!(config(&text.replace("\"patch\": 8", "\"patch\": 7")).unwrap_err().contains("patch_size 7"));
        assert!(config(&text.replace("\"image\": 40", "\"image\": 5000000000")).unwrap_err().contains("5000000000"));
        assert!(fixture_config(&BTreeMap::new()).is_err());
    }
}
