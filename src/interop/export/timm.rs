//! A folder as timm has it on the hub: weights with its names, and a configuration that builds the network.

use serde_json::{Value, json};

use super::{
    Features, Package, Source, Task, card, preprocessor,
    tensors::{Foreign, tensors},
};
use crate::{
    error::{Error, Result},
    interop::World,
    model::Pool,
};

/// The line that opens it.
pub(super) const LOAD: &str = "timm.create_model(\"local-dir:{}\", pretrained=True)";

/// LayerNorm's epsilon in timm's vision transformers.
const EPS: f32 = 1e-6;

/// The package of an encoder or a classifier.
///
/// # Errors
/// When timm's `VisionTransformer` cannot be told the network, or the checkpoint lacks a tensor.
pub fn package<'m>(source: &Source<'m>, task: Task) -> Result<Package<'m>> {
    let model = source.model;
    super::even_heads(model.width, model.heads, "timm")?;
    if model.layer_norm_eps != EPS {
        let reason = format!("its LayerNorms have epsilon 1e-6, these {}", model.layer_norm_eps);
        return Err(Error::Config(format!("timm cannot be told this network: {reason}; --format hf or onnx can")));
    }
    if matches!(task, Task::Pretraining) {
        let reason = "timm has no decoders, and takes a file with a mask token for DINOv2's";
        return Err(Error::Config(format!("{reason}; --task features writes the encoder")));
    }
    let mut tensors = tensors(source, World::Mae, task)?;
    let (pool, depth, norms) = match (task, source.classifier) {
        (Task::Features(features), _) => {
            let Features { blocks, final_norm, pool, plain_norm } = features;
            if final_norm && plain_norm {
                let reason = "its norm behind the last block or one behind the mean, not both";
                return Err(Error::Config(format!("timm has one of two norms: {reason}; --format onnx can say both")));
            }
            if plain_norm {
                for (name, value) in [("fc_norm.weight", 1.0), ("fc_norm.bias", 0.0)] {
                    let values = vec![value; model.width].into();
                    tensors.push(Foreign { name: name.into(), shape: vec![model.width], values });
                }
            }
            let norms = json!({"fc_norm": plain_norm, "final_norm": final_norm || plain_norm});
            (pool, blocks, norms)
        }
        (_, classifier) => {
            let pool = classifier.map_or(Pool::Mean, |classifier| classifier.pool);
            (pool, model.depth, json!({"fc_norm": pool == Pool::Mean, "final_norm": true}))
        }
    };
    let mut package = Package::new(source, task, tensors, LOAD);
    let config = config(source, task, (if pool == Pool::Mean { "avg" } else { "token" }, depth, norms));
    package.notes.push(super::KEY_BIAS.into());
    if source.positions_were_resized() {
        package.notes.push("positions are those of this image size; timm resizes them in another way".into());
    }
    package.texts =
        vec![("config.json", format!("{config:#}\n")), ("README.md", card::text(source, task, "timm", LOAD))];
    Ok(package)
}

fn config(source: &Source<'_>, task: Task, (pool, depth, norms): (&str, usize, Value)) -> Value {
    let (model, prepared) = (source.model, preprocessor(source.model));
    let (height, width) = (model.image_height, model.image_width);
    let classes = match (task, source.classifier) {
        (Task::Classes, Some(classifier)) => &classifier.classes[..],
        _ => &[],
    };
    let mut config = json!({
        // The functions of all sizes build one class; arguments say the rest.
        "architecture": "vit_base_patch16_224",
        "num_classes": classes.len(),
        "num_features": model.width,
        "global_pool": pool,
        "model_args": {
            "img_size": [height, width],
            "patch_size": model.patch_size,
            "in_chans": model.channels,
            "embed_dim": model.width,
            "depth": depth,
            "num_heads": model.heads,
            "mlp_ratio": model.mlp_ratio,
            "global_pool": pool,
            "fc_norm": norms["fc_norm"],
            "final_norm": norms["final_norm"],
        },
        "pretrained_cfg": {
            "input_size": [model.channels, height, width],
            "fixed_input_size": true,
            "interpolation": "bicubic",
            "crop_pct": model.shown_share(),
            "crop_mode": "center",
            "mean": prepared["image_mean"],
            "std": prepared["image_std"],
            "num_classes": classes.len(),
            "pool_size": null,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    });
    if !classes.is_empty() {
        config["label_names"] = json!(classes);
    }
    config
}
