//! Features of a folder's images by a pretrained encoder, and which image is nearest to the first one by cosine:
//! `cargo run --example features -- web/weights/demo.safetensors examples/photos/train`

use bootmae::{
    data::open,
    device::{Device, DeviceOptions},
    error::{Error, Result},
    infer::encoder::{Encoder, FeatureOptions, Norm, Pool},
    interop::{self, Asked},
    lower::Precision,
    model::Whose,
};

const BATCH: usize = 8;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, folder] = &arguments[..] else {
        return Err(Error::Config("usage: features CHECKPOINT FOLDER".into()));
    };
    // A run, a checkpoint folder or a file, also of timm or Hugging Face.
    let model = interop::open(checkpoint.as_ref(), &Asked::default())?.model;
    let (whose, pool, norm, precision) = (Whose::Student, Pool::Mean, Norm::None, Precision::F32);
    let options = FeatureOptions { whose, pool, norm, blocks: None, precision };
    let device = pollster::block_on(Device::open(&DeviceOptions::default()))?;
    let encoder = pollster::block_on(Encoder::new(device, &model, options, BATCH))?;

    // Resized, cropped and normalised as the network expects it: [channels, height, width].
    let (config, source) = (encoder.config(), open(folder)?);
    let view = |index| -> Result<Vec<f32>> {
        let picture = source.load(index, config.channels).map_err(Error::Images)?;
        Ok(config.evaluation_view(&picture).normalise(&config.normalise))
    };
    let views = (0..source.len()).map(view).collect::<Result<Vec<_>>>()?;
    let mut features = Vec::new();
    for batch in views.chunks(BATCH) {
        features.extend(pollster::block_on(encoder.run(&batch.concat()))?);
    }

    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let rows: Vec<&[f32]> = features.chunks(config.width).collect();
    let cosine = |image: usize| {
        let (a, b) = (rows[0], rows[image]);
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    match (1..rows.len()).max_by(|a, b| cosine(*a).total_cmp(&cosine(*b))) {
        Some(best) => println!("{}: nearest is {}, cosine {:.3}", source.name(0), source.name(best), cosine(best)),
        None => println!("{}: the only image", source.name(0)),
    }
    Ok(())
}
