//! A device against a checkpoint of another program: what its published code makes of an image, computed in float64.

use super::compare::{F32_BARS, Groups, Report, bad, relative};
use crate::{
    checkpoint::Model,
    device::Device,
    error::Result,
    formats::tensors::TensorFile,
    infer::{
        encoder::{Encoder, FeatureOptions, Norm, Pool},
        predictor::{Network, Over, Predictor},
    },
    interop::Asked,
    kernels::Tuning,
    lower::Precision,
    model::{WEIGHTS, Weights, Whose},
};

/// What half precision may cost: three times what a sample showed on llvmpipe.
const F16_BAR: f64 = 1e-3;

/// A checkpoint that a fixture is of.
#[derive(Debug)]
pub struct Sample {
    /// The checkpoint's name; it lies beside the fixture.
    pub file: String,
    /// How it is read.
    pub asked: Asked,
}

impl Sample {
    /// The checkpoint of a fixture of the kind `interop`; none where it is of another kind.
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::error::Error::Checkpoint) with what is wrong with the fixture.
    pub fn of(file: &TensorFile) -> Option<Result<Sample>> {
        let kind: String = file.json("kind").ok()?;
        (kind == "interop").then(|| Sample::read(file))
    }

    fn read(fixture: &TensorFile) -> Result<Sample> {
        let (file, key): (String, String) = (fixture.json("file").map_err(bad)?, fixture.json("key").map_err(bad)?);
        if file.is_empty() || file.starts_with('.') || file.contains(['/', '\\', ':', '\0']) {
            return Err(bad(format!("`file` is the name of a file beside it, not {file:?}")));
        }
        let side = match fixture.f32("in/image").map_err(bad)?.0 {
            [1, 3, height, width] if height == width && (1..=4096).contains(height) => *height,
            other => return Err(bad(format!("in/image has shape {other:?}, not [1, 3, side, side]"))),
        };
        let heads = fixture.metadata.contains_key("heads").then(|| fixture.json("heads").map_err(bad)).transpose()?;
        let key = Some(key).filter(|key| !key.is_empty());
        Ok(Sample { file, asked: Asked { key, heads, normalisation: None, crop_share: None, image_size: Some(side) } })
    }
}

/// Compares what `model` makes of the fixture's image with what the fixture wants. `Err` holds what is wrong with the
/// fixture, or the device's error. Gives the device back.
pub async fn verify(
    device: Device,
    precision: Precision,
    file: &TensorFile,
    model: &Model,
) -> Result<(Report, Device)> {
    let image = file.f32("in/image").map_err(bad)?.1;
    let bar = if precision == Precision::F32 { F32_BARS.output } else { F16_BAR };
    let (mut groups, mut device) = (Groups::default(), device);
    for (name, pool) in [("tokens", Pool::Tokens), ("pooled", Pool::Mean), ("cls_normed", Pool::Cls)] {
        let key = format!("out/{name}");
        if !file.tensors.contains_key(&key) {
            continue;
        }
        let options = FeatureOptions { whose: Whose::Student, pool, norm: Norm::None, blocks: None, precision };
        let encoder = Encoder::new(device, model, options, 1).await?;
        let got = encoder.run(image).await?;
        groups.note(name, bar, &key, relative(&got, file.f32(&key).map_err(bad)?.1));
        device = encoder.into_device();
    }
    if file.tensors.contains_key("out/logits") {
        let got = logits(&device, model, image).await?;
        groups.note("logits", F32_BARS.output, "out/logits", relative(&got, file.f32("out/logits").map_err(bad)?.1));
    }
    if groups.is_empty() {
        return Err(bad("it wants nothing: neither tokens nor features nor logits".into()));
    }
    Ok((groups.report(&device.adapter().name, "interop"), device))
}

async fn logits(device: &Device, model: &Model, image: &[f32]) -> Result<Vec<f32>> {
    let Some(classifier) = &model.config.classifier else { return Err(bad("the checkpoint has no head".into())) };
    let weights = Weights::of(device, model.config.planned_task().parameters(), false)?;
    model.write(device, &weights).map_err(bad)?;
    let over = Over { layout: weights.layout(), arenas: weights.arenas(), arena: WEIGHTS };
    let network = Network { model: &model.config.model, classifier };
    let tuning = Tuning::for_device(device).for_any_batch();
    Predictor::over(device, network, over, 1, tuning).await?.run(device, image).await
}
