//! The configuration of a network that a file holds.

use super::{
    asked::Asked,
    known::Known,
    listing::Listing,
    sizes::{DecoderSizes, Sizes},
    worlds::World,
};
use crate::{
    data::Normalisation,
    model::{
        ModelConfig, Pool,
        config::{Kind, PixelTarget, inner},
    },
    train::config::RunConfig,
};

/// The LayerNorm epsilon of BootMAE, MAE and timm.
const EPS: f32 = 1e-6;
/// That of Hugging Face where `config.json` says none.
const HUGGING_FACE_EPS: f32 = 1e-12;
/// The most columns of a head.
const HEAD_MOST: usize = 128;

/// The configuration of a network with the decoders given, for the grid of its positions, whose order is still to be found.
/// `notes` takes what was settled without the file.
pub(super) fn settings(
    listing: &Listing,
    sizes: &Sizes,
    decoder: Option<&DecoderSizes>,
    (known, asked): (&Known, &Asked),
    notes: &mut Vec<String>,
) -> Result<RunConfig, String> {
    agree(sizes, decoder, known)?;
    let described = known.description.as_ref();
    let kind = match (listing.world, described) {
        (World::Bootmae, _) => Kind::Bootmae,
        (_, Some(described)) if decoder.is_none() => described.kind,
        _ => Kind::Mae,
    };
    let heads = heads(sizes, known, asked, notes)?;
    let preset = if kind == Kind::Mae { "mae-base" } else { "base" };
    let base = RunConfig::preset(preset).map_err(|e| e.to_string())?;
    let (rows, cols) = sizes.grid;
    let mut model = ModelConfig {
        channels: sizes.channels,
        width: sizes.width,
        depth: sizes.depth,
        heads,
        mlp_ratio: sizes.mlp_ratio,
        feature_tap: sizes.depth - 1,
        layer_norm_eps: eps(listing.world, known, notes)?,
        normalise: normalisation(kind, known, asked, notes)?,
        crop_share: shown(known, asked, notes),
        ..base.model
    };
    match decoder {
        Some(decoder) => {
            (model.pixel_decoder_width, model.decoder_depth) = (decoder.width, decoder.depth);
            model.feature_branch &= decoder.features;
            model.decoder_heads = match kind {
                Kind::Bootmae => None,
                Kind::Mae => decoder_heads(decoder.width, heads, known, notes)?,
            };
            let said = described.and_then(|described| described.pixel_target);
            model.pixel_target = match (said, known.norm_pix_loss(), kind) {
                (Some(target), ..) => target,
                (None, Some(false), Kind::Mae) => PixelTarget::Raw,
                _ => model.pixel_target,
            };
        }
        None => {
            let published = sizes.width >= 384;
            model.pixel_decoder_width = if published { 512 } else { sizes.width };
            model.decoder_heads = match kind {
                Kind::Mae if published => Some(16),
                _ => (model.pixel_decoder_width / heads > HEAD_MOST).then_some(16),
            };
        }
    }
    let side = |cells: usize| cells.checked_mul(sizes.patch).ok_or("its images are too large");
    let model = model.with_size(side(rows)?, side(cols)?, sizes.patch);
    let mut config = RunConfig { model, ..base };
    if !config.model.feature_branch {
        config.training.feature_weight = 0.0;
    }
    if let Some(classes) = sizes.classes {
        config = RunConfig::finetuning(config.model);
        let classifier = config.classifier.as_mut().expect("a configuration of fine-tuning");
        classifier.classes = known.classes(classes)?;
        classifier.pool = match (sizes.norm, sizes.fc_norm) {
            (true, false) => Pool::Cls,
            (false, true) => Pool::Mean,
            (true, true) => {
                return Err("it holds both `norm` and `fc_norm` before its head; one of the two is read".into());
            }
            (false, false) => return Err("it holds a head without a norm before it".into()),
        };
    }
    Ok(config)
}

/// Refuses a `config.json` of another network.
fn agree(sizes: &Sizes, decoder: Option<&DecoderSizes>, known: &Known) -> Result<(), String> {
    known.check_activation()?;
    let Sizes { width, depth, patch, channels, mlp_ratio, grid, .. } = sizes;
    for (name, tensors) in [
        ("hidden_size", *width),
        ("num_hidden_layers", *depth),
        ("intermediate_size", mlp_ratio * width),
        ("patch_size", *patch),
        ("num_channels", *channels),
        ("image_size", grid.0 * patch),
    ] {
        known.agrees(name, tensors)?;
    }
    let Some(decoder) = decoder else { return Ok(()) };
    known.agrees("decoder_hidden_size", decoder.width)?;
    known.agrees("decoder_num_hidden_layers", decoder.depth)
}

fn heads(sizes: &Sizes, known: &Known, asked: &Asked, notes: &mut Vec<String>) -> Result<usize, String> {
    let width = sizes.width;
    let described = known.description.as_ref().map(|described| described.heads);
    let (heads, whence) = match (asked.heads, described, known.count("num_attention_heads")?) {
        (Some(heads), ..) => (heads, "as asked for"),
        (None, Some(heads), _) => (heads, "as its metadata says"),
        (None, None, Some(heads)) => (heads, "as config.json says"),
        (None, None, None) if width.is_multiple_of(64) => {
            (width / 64, "64 columns each, as published networks but ViT-H have; the file does not say (--heads)")
        }
        _ => {
            return Err(format!(
                "the file does not say how many attention heads its encoder of {width} columns has; give --heads N"
            ));
        }
    };
    if heads == 0 || heads > width || inner(width, heads) != sizes.inner {
        return Err(format!("its attention of {} columns is not of {heads} heads ({whence})", sizes.inner));
    }
    notes.push(format!("{heads} attention heads, {whence}"));
    Ok(heads)
}

/// The heads of MAE's decoder, none where they are as many as the encoder's.
fn decoder_heads(width: usize, heads: usize, known: &Known, notes: &mut Vec<String>) -> Result<Option<usize>, String> {
    if let Some(described) = &known.description {
        return Ok(described.decoder_heads);
    }
    if let Some(count) = known.count("decoder_num_attention_heads")? {
        return Ok(Some(count));
    }
    if width == 512 {
        return Ok(Some(16));
    }
    notes.push(format!("{heads} attention heads in the decoder, as many as in the encoder; the file does not say"));
    Ok(None)
}

fn eps(world: World, known: &Known, notes: &mut Vec<String>) -> Result<f32, String> {
    if let Some(described) = &known.description {
        return Ok(described.layer_norm_eps);
    }
    match (known.eps()?, world) {
        (Some(eps), _) => Ok(eps),
        (None, World::HuggingFace) => {
            let advice = if known.has_config() { "" } else { "; give the folder, to have config.json read" };
            notes.push(format!("an epsilon of {HUGGING_FACE_EPS:e} in norms, Hugging Face's default{advice}"));
            Ok(HUGGING_FACE_EPS)
        }
        (None, World::Bootmae | World::Mae) => Ok(EPS),
    }
}

/// The share of a picture's shorter side that evaluation shows.
fn shown(known: &Known, asked: &Asked, notes: &mut Vec<String>) -> Option<f64> {
    let (share, whence) = match (asked.crop_share, known.crop_share()) {
        (Some(share), _) => (share, "as asked for".to_owned()),
        (None, Some((share, place))) => (share, format!("as {place} says")),
        (None, None) => return None,
    };
    notes.push(format!("{:.1} % of a picture's shorter side are seen, {whence}", share * 100.0));
    Some(share)
}

fn normalisation(kind: Kind, known: &Known, asked: &Asked, notes: &mut Vec<String>) -> Result<Normalisation, String> {
    let (normalisation, whence) = match (asked.normalisation, known.normalisation()?, kind) {
        (Some(asked), ..) => (asked, "as asked for".to_owned()),
        (None, Some((known, place)), _) => (known, format!("as {place} says")),
        (None, None, Kind::Bootmae) => (Normalisation::INCEPTION, "as BootMAE has it (--normalise)".into()),
        (None, None, Kind::Mae) => (
            Normalisation::IMAGENET,
            "as MAE and DeiT have it; the file does not say, and some have inception's (--normalise)".into(),
        ),
    };
    let name = normalisation.name().map_or_else(
        || format!("mean {:?}, deviation {:?}", normalisation.mean, normalisation.std),
        |name| name.to_owned(),
    );
    notes.push(format!("pixels normalised by {name}, {whence}"));
    Ok(normalisation)
}
