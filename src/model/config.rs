//! The shape of the network and of its task: presets, derived sizes and checks.

use serde::{Deserialize, Serialize};

use crate::{
    data::{
        Normalisation, Picture,
        augment::{crop_share, evaluation_crop},
    },
    error::{Error, Result},
    nn::PositionOrder,
    text::nearest,
};

/// Sizes beyond all use are refused, so that nothing computed from them overflows or takes forever. Images have no longer
/// sides when they are read.
const LARGEST_IMAGE: usize = 16_384;
const LARGEST_WIDTH: usize = 65_536;
const DEEPEST: usize = 1024;
const LARGEST_RATIO: usize = 256;

/// Which published network this is: what the masks, losses and sizes of a [`ModelConfig`] leave open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// BootMAE: decoders add positions to mask tokens only; the pixel head has one bias a channel.
    #[default]
    Bootmae,
    /// MAE: the decoder adds positions to every token; the head is linear. Its starting values are MAE's too.
    Mae,
}

/// How masked patches are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Masking {
    /// Rectangles first, then random cells up to the masked count (the published scheme).
    Block,
    /// A uniformly random subset (MAE's scheme).
    Random,
}

/// What the pixel decoder regresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelTarget {
    /// Pixels normalised per patch and per channel with the biased variance (BootMAE).
    PatchChannel,
    /// Pixels normalised per patch over all channels with the unbiased variance (MAE).
    Patch,
    /// The pixels of the normalised image themselves.
    Raw,
}

impl PixelTarget {
    /// MAE's epsilon under the root of its per-patch normalisation.
    pub const MAE_EPS: f32 = 1e-6;
}

/// Everything that decides the network's parameters and its loss. All sizes are counts; images are in pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// BootMAE or MAE.
    #[serde(default)]
    pub kind: Kind,
    /// Input height in pixels, a multiple of `patch_size`.
    pub image_height: usize,
    /// Input width in pixels, a multiple of `patch_size`.
    pub image_width: usize,
    /// Colour channels of the input, 1 to 4.
    pub channels: usize,
    /// Side of a square patch in pixels.
    pub patch_size: usize,
    /// Width of encoder and feature decoder, a multiple of 4.
    pub width: usize,
    /// Blocks of the encoder.
    pub depth: usize,
    /// Attention heads of the encoder and of a feature decoder; a head has `floor(width / heads)` columns.
    pub heads: usize,
    /// Attention heads of the pixel decoder, where it has not as many as the encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder_heads: Option<usize>,
    /// Width of the pixel decoder, a multiple of 4.
    pub pixel_decoder_width: usize,
    /// Blocks in each decoder.
    pub decoder_depth: usize,
    /// Hidden width of an MLP as a multiple of the block's width.
    pub mlp_ratio: usize,
    /// Encoder block (from 0) whose output the pixel decoder attends to.
    pub pixel_tap: usize,
    /// Encoder block (from 0) whose output the feature decoder attends to.
    pub feature_tap: usize,
    /// Epsilon inside the square root of every LayerNorm.
    pub layer_norm_eps: f32,
    /// Epsilon inside the square root of the pixel target's normalisation per patch and channel.
    pub pixel_eps: f32,
    /// Patches hidden from the encoder, of `patches()`.
    pub masked: usize,
    /// Patches that the block sampler covers before random cells top up to `masked`.
    pub block_target: usize,
    /// Smallest area of a block in patches.
    pub block_min: usize,
    /// Largest area of a block in patches.
    pub block_max: usize,
    /// Smallest height-to-width ratio of a block; the largest is its inverse.
    pub block_aspect_min: f32,
    /// The masking scheme.
    pub masking: Masking,
    /// Weight masked patches by how many of their neighbours are masked.
    pub centre_weight: bool,
    /// The pixel decoder's target.
    pub pixel_target: PixelTarget,
    /// The order of a position's halves in the tables of sine-cosine positions.
    #[serde(default)]
    pub positions: PositionOrder,
    /// What is subtracted from pixels, and what they are divided by then.
    #[serde(default)]
    pub normalise: Normalisation,
    /// The share of a picture's shorter side that evaluation shows, 0.01 to 1 (timm's `crop_pct`); [`crop_share`] decides
    /// without it.
    #[serde(default)]
    pub crop_share: Option<f64>,
    /// Whether weight decay applies to the class token. It always applies to mask tokens.
    #[serde(default)]
    pub weight_decay_tokens: bool,
    /// Whether decoders attend to the encoder's taps (target-aware injection).
    pub cross_attention: bool,
    /// Whether the momentum encoder and the feature decoder exist; without them the pixel branch trains alone.
    pub feature_branch: bool,
}

/// The names that [`ModelConfig::preset`] knows: sizes of BootMAE, and of MAE.
pub const PRESETS: [&str; 10] =
    ["nano", "tiny", "small", "base", "large", "mae-nano", "mae-tiny", "mae-small", "mae-base", "mae-large"];

impl ModelConfig {
    /// A named size at its usual image and patch size: `nano` and `tiny` at 32/4, `small`, `base` and `large` at 224/16;
    /// with `mae-` before it as MAE.
    pub fn preset(name: &str) -> Result<ModelConfig> {
        let (size, kind) = name.strip_prefix("mae-").map_or((name, Kind::Bootmae), |size| (size, Kind::Mae));
        let (width, depth, heads, pixel_decoder_width, image, patch) = match size {
            "nano" => (128, 6, 4, 128, 32, 4),
            "tiny" => (192, 12, 3, 192, 32, 4),
            "small" => (384, 12, 6, 384, 224, 16),
            "base" => (768, 12, 12, 512, 224, 16),
            "large" => (1024, 24, 16, 512, 224, 16),
            _ => {
                let near = nearest(name, &PRESETS).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
                return Err(Error::Config(format!("no preset `{name}`{near} (presets: {})", PRESETS.join(", "))));
            }
        };
        let mut config = ModelConfig {
            kind: Kind::Bootmae,
            image_height: image,
            image_width: image,
            channels: 3,
            patch_size: patch,
            width,
            depth,
            heads,
            decoder_heads: None,
            pixel_decoder_width,
            decoder_depth: 2,
            mlp_ratio: 4,
            pixel_tap: 0,
            feature_tap: depth - 1,
            layer_norm_eps: 1e-6,
            pixel_eps: 1e-5,
            masked: 0,
            block_target: 0,
            block_min: 0,
            block_max: 0,
            block_aspect_min: 0.3,
            masking: Masking::Block,
            centre_weight: true,
            pixel_target: PixelTarget::PatchChannel,
            positions: PositionOrder::Rows,
            normalise: Normalisation::INCEPTION,
            crop_share: None,
            weight_decay_tokens: false,
            cross_attention: true,
            feature_branch: true,
        };
        if kind == Kind::Mae {
            config = config.as_mae();
        }
        config.scale_masking();
        Ok(config)
    }

    /// The same network as MAE has it: everything in which it differs from BootMAE. The decoder has 8 blocks of 512 columns and
    /// 16 heads; beside encoders narrower than 384, of which none is published, 4 blocks of its width and the encoder's heads.
    pub fn as_mae(self) -> ModelConfig {
        let published = self.width >= 384;
        ModelConfig {
            kind: Kind::Mae,
            pixel_decoder_width: if published { 512 } else { self.pixel_decoder_width },
            decoder_heads: published.then_some(16),
            decoder_depth: if published { 8 } else { 4 },
            masking: Masking::Random,
            centre_weight: false,
            pixel_target: PixelTarget::Patch,
            positions: PositionOrder::Columns,
            normalise: Normalisation::IMAGENET,
            weight_decay_tokens: true,
            cross_attention: false,
            feature_branch: false,
            ..self
        }
    }

    /// The same network for another image and patch size; the masking counts follow the grid.
    pub fn with_size(mut self, height: usize, width: usize, patch: usize) -> ModelConfig {
        (self.image_height, self.image_width, self.patch_size) = (height, width, patch);
        self.scale_masking();
        self
    }

    /// Sets the masking counts to the published shares of the grid: 147, 120 and 16 to 60 of 196 cells.
    pub fn scale_masking(&mut self) {
        if self.patch_size == 0 {
            return;
        }
        let n = self.patches() as f64;
        let share = |of_196: f64| (n * of_196 / 196.0).round() as usize;
        self.masked = match self.kind {
            Kind::Bootmae => (0.75 * n).round() as usize,
            // MAE rounds the number of visible patches down.
            Kind::Mae => self.patches() - self.patches() / 4,
        };
        self.block_target = share(120.0);
        self.block_min = share(16.0).max(1);
        self.block_max = share(60.0).max(1);
    }

    /// The same network with `masked` patches hidden, of which blocks cover the published share.
    pub fn with_masked(mut self, masked: usize) -> ModelConfig {
        self.masked = masked;
        self.block_target = (masked as f64 * 120.0 / 147.0).round() as usize;
        self
    }

    /// Rows and columns of the patch grid.
    pub fn grid(&self) -> (usize, usize) {
        (self.image_height / self.patch_size, self.image_width / self.patch_size)
    }

    /// Number of patches of an image.
    pub fn patches(&self) -> usize {
        let (rows, cols) = self.grid();
        // Settings ask for this before they are checked.
        rows.saturating_mul(cols)
    }

    /// Patches that the encoder sees.
    pub fn visible(&self) -> usize {
        self.patches() - self.masked
    }

    /// Values of one patch: channels × patch rows × patch columns, in that order.
    pub fn patch_values(&self) -> usize {
        self.channels * self.patch_size * self.patch_size
    }

    /// The share of a picture's shorter side that evaluation shows.
    pub fn shown_share(&self) -> f64 {
        self.crop_share.unwrap_or_else(|| crop_share(self.image_height.max(self.image_width)))
    }

    /// The view of a picture that evaluation takes, see [`evaluation_crop`].
    ///
    /// # Panics
    /// When the picture does not pass [`Picture::check`].
    pub fn evaluation_view(&self, picture: &Picture) -> Picture {
        evaluation_crop(picture, self.image_height, self.image_width, self.shown_share())
    }

    /// Attention heads of the pixel decoder.
    pub fn pixel_decoder_heads(&self) -> usize {
        self.decoder_heads.unwrap_or(self.heads)
    }

    /// Floating-point operations of one training step per image: three forward passes' worth for the student, one for
    /// the teacher, two operations a multiply-add. Counts the published computation, not the savings taken here.
    pub fn step_flops(&self) -> f64 {
        let f = |x: usize| x as f64;
        let (n, v, l) = (f(self.patches()), f(self.visible() + 1), f(self.patches() + 1));
        let (d, p, p3) = (f(self.width), f(self.pixel_decoder_width), f(self.patch_values()));
        let dec = f(self.decoder_depth);
        let decoder = |w: f64, a: f64| {
            let cross = l * w * a + 2.0 * v * d * a + 2.0 * l * v * a + l * a * w;
            self.block_products(l, w, a) + if self.cross_attention { cross } else { 0.0 }
        };
        let pixel_inner = f(inner(self.pixel_decoder_width, self.pixel_decoder_heads()));
        let mut student = self.encoder_products(v) + v * d * p + dec * decoder(p, pixel_inner) + n * p * p3;
        let mut teacher = 0.0;
        if self.feature_branch {
            student += v * d * d + dec * decoder(d, f(inner(self.width, self.heads))) + n * d * d;
            teacher = self.encoder_products(l);
        }
        2.0 * (3.0 * student + teacher)
    }

    /// Multiply-adds of the encoder for one image, of which it sees `tokens` with the class token.
    pub(super) fn encoder_products(&self, tokens: f64) -> f64 {
        let (width, inner) = (self.width as f64, inner(self.width, self.heads) as f64);
        let embedded = self.patches() as f64 * self.patch_values() as f64 * width;
        embedded + self.depth as f64 * self.block_products(tokens, width, inner)
    }

    /// Multiply-adds of a block of this width over `tokens` tokens, whose heads have `inner` columns together.
    fn block_products(&self, tokens: f64, width: f64, inner: f64) -> f64 {
        let attention = 3.0 * tokens * width * inner + 2.0 * tokens * tokens * inner + tokens * inner * width;
        attention + (2 * self.mlp_ratio) as f64 * tokens * width * width
    }

    /// Refuses sizes that the network cannot have, naming the setting.
    pub fn check(&self) -> Result<()> {
        let fail = |reason: String| Err(Error::Config(reason));
        if let Some(share) = self.crop_share.filter(|share| !(0.01..=1.0).contains(share)) {
            return fail(format!("crop_share must be 0.01 to 1, not {share}"));
        }
        let (h, w, p) = (self.image_height, self.image_width, self.patch_size);
        // First of all, since everything else is computed from these.
        for (name, size, most) in [
            ("image_height", h, LARGEST_IMAGE),
            ("image_width", w, LARGEST_IMAGE),
            ("width", self.width, LARGEST_WIDTH),
            ("pixel_decoder_width", self.pixel_decoder_width, LARGEST_WIDTH),
            ("depth", self.depth, DEEPEST),
            ("decoder_depth", self.decoder_depth, DEEPEST),
            ("mlp_ratio", self.mlp_ratio, LARGEST_RATIO),
        ] {
            if size > most {
                return fail(format!("{name} must be at most {most}, not {size}"));
            }
        }
        if p == 0 || h == 0 || w == 0 || h % p != 0 || w % p != 0 {
            let near = (1..=h.min(w)).filter(|q| h % q == 0 && w % q == 0).min_by_key(|q| q.abs_diff(p));
            let hint = near.map(|q| format!("; {q} does")).unwrap_or_default();
            return fail(format!("patch_size {p} does not divide the {h}×{w} image{hint}"));
        }
        if !(1..=4).contains(&self.channels) {
            return fail(format!("channels must be 1 to 4, not {}", self.channels));
        }
        let decoder_heads = self.pixel_decoder_heads();
        let heads_name = if self.decoder_heads.is_some() { "decoder_heads" } else { "heads" };
        for (name, width, heads_name, heads) in [
            ("width", self.width, "heads", self.heads),
            ("pixel_decoder_width", self.pixel_decoder_width, heads_name, decoder_heads),
        ] {
            if width == 0 || width % 4 != 0 {
                return fail(format!("{name} must be a positive multiple of 4 (sine-cosine positions), not {width}"));
            }
            if heads == 0 || heads > width {
                return fail(format!("{heads_name} must be 1 to {name} ({width}), not {heads}"));
            }
            if width / heads > 128 {
                let head = width / heads;
                return fail(format!("a head of {name} has {head} columns; at most 128 are supported, use more heads"));
            }
        }
        for (name, value) in
            [("depth", self.depth), ("decoder_depth", self.decoder_depth), ("mlp_ratio", self.mlp_ratio)]
        {
            if value == 0 {
                return fail(format!("{name} must be at least 1"));
            }
        }
        for (name, tap) in [("pixel_tap", self.pixel_tap), ("feature_tap", self.feature_tap)] {
            if tap >= self.depth {
                return fail(format!("{name} {tap} is not a block of an encoder of depth {}", self.depth));
            }
        }
        if self.kind == Kind::Mae && (self.cross_attention || self.feature_branch) {
            return fail("kind = \"mae\" has neither cross_attention nor a feature_branch; set both to false".into());
        }
        let n = self.patches();
        if self.masked == 0 || self.masked >= n {
            return fail(format!("masked must be 1 to {} of {n} patches, not {}", n.saturating_sub(1), self.masked));
        }
        if self.block_target > self.masked {
            return fail(format!("block_target {} exceeds masked {}", self.block_target, self.masked));
        }
        if self.block_min == 0 || self.block_max < self.block_min {
            return fail(format!("blocks of {} to {} patches are not a range", self.block_min, self.block_max));
        }
        if !(self.block_aspect_min > 0.0 && self.block_aspect_min <= 1.0) {
            return fail(format!("block_aspect_min must be in (0, 1], not {}", self.block_aspect_min));
        }
        if !(self.layer_norm_eps > 0.0 && self.pixel_eps > 0.0) {
            return fail("layer_norm_eps and pixel_eps must be positive".into());
        }
        Ok(())
    }
}

/// Columns of attention inside a block of `width`: heads × floor(width / heads), 504 for BootMAE's pixel decoder of ViT-B.
pub fn inner(width: usize, heads: usize) -> usize {
    width / heads * heads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_counts_follow_the_grid() {
        let base = ModelConfig::preset("base").unwrap();
        assert_eq!((base.masked, base.block_target, base.block_min, base.block_max), (147, 120, 16, 60));
        let tiny = ModelConfig::preset("tiny").unwrap();
        assert_eq!((tiny.masked, tiny.block_target, tiny.block_min, tiny.block_max), (48, 39, 5, 20));
    }

    #[test]
    fn step_flops_are_the_published_ones() {
        let gflop = |name| ModelConfig::preset(name).unwrap().step_flops() / 1e9;
        assert!((gflop("base") - 93.8).abs() < 0.05, "{}", gflop("base"));
        assert!((gflop("large") - 264.6).abs() < 0.05, "{}", gflop("large"));
        assert!((gflop("small") - 27.7).abs() < 0.05, "{}", gflop("small"));
    }

    #[test]
    fn a_misspelt_preset_names_the_near_one() {
        let message = ModelConfig::preset("bsae").unwrap_err().to_string();
        assert!(message.contains("did you mean `base`"), "{message}");
    }

    #[test]
    fn sizes_beyond_all_use_are_refused_at_once() {
        let refusal = |change: &dyn Fn(&mut ModelConfig)| {
            let mut config = ModelConfig::preset("nano").unwrap();
            change(&mut config);
            config.scale_masking();
            config.check().unwrap_err().to_string()
        };
        assert!(refusal(&|c| c.image_height = usize::MAX).contains("image_height must be at most 16384"));
        assert!(refusal(&|c| (c.image_width, c.patch_size) = (1 << 62, 1)).contains("image_width must be at most"));
        assert!(refusal(&|c| (c.width, c.heads) = (1 << 62, 1 << 60)).contains("width must be at most 65536"));
        assert!(refusal(&|c| c.depth = 1 << 40).contains("depth must be at most 1024"));
    }

    #[test]
    fn a_patch_that_does_not_divide_the_image_is_refused() {
        let message = ModelConfig::preset("nano").unwrap().with_size(30, 30, 4).check().unwrap_err().to_string();
        assert!(message.contains("patch_size 4 does not divide the 30×30 image"), "{message}");
    }
}
