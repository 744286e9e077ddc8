//! A folder for Transformers: `ViTModel`, `ViTForImageClassification` or `ViTMAEForPreTraining`.

use serde_json::{Map, Value, json};

use super::{Package, Source, Task, card, preprocessor, tensors::tensors};
use crate::{
    error::{Error, Result},
    interop::World,
    model::{
        Pool,
        config::{Kind, PixelTarget},
    },
};

/// The package of an encoder, of a classifier on the class token, or of MAE.
///
/// # Errors
/// When no class of Transformers is this network, or the checkpoint lacks a tensor.
pub fn package<'m>(source: &Source<'m>, task: Task) -> Result<Package<'m>> {
    let (model, fail) = (source.model, |reason: &str| Err(Error::Config(reason.into())));
    super::even_heads(model.width, model.heads, "Transformers")?;
    let (class, load) = match task {
        Task::Features(_) if !source.has("norm.weight") => {
            return fail(
                "ViTModel ends in a norm, and this network, fine-tuned on the mean of its patches, has none there; \
                 --format timm or onnx can say it",
            );
        }
        Task::Features(_) => ("ViTModel", "ViTModel.from_pretrained(\"{}\", add_pooling_layer=False)"),
        Task::Classes if source.classifier.is_some_and(|classifier| classifier.pool == Pool::Mean) => {
            return fail(
                "ViTForImageClassification takes the class token, and this network the mean of its patches; \
                 --format timm, which Transformers opens too (TimmWrapper), or onnx can say it",
            );
        }
        Task::Classes => ("ViTForImageClassification", "ViTForImageClassification.from_pretrained(\"{}\")"),
        Task::Pretraining if model.kind != Kind::Mae => {
            return fail("Transformers has no BootMAE; --task features writes the encoder");
        }
        Task::Pretraining => {
            super::even_heads(model.pixel_decoder_width, model.pixel_decoder_heads(), "Transformers")?;
            ("ViTMAEForPreTraining", "ViTMAEForPreTraining.from_pretrained(\"{}\")")
        }
    };
    let mut tensors = tensors(source, World::HuggingFace, task)?;
    if class != "ViTModel" {
        // What is on the encoder stands beside it.
        let beside = |name: &str| name.starts_with("classifier.") || name.starts_with("decoder.");
        tensors.iter_mut().filter(|tensor| !beside(&tensor.name)).for_each(|tensor| {
            tensor.name.insert_str(0, "vit.");
        });
    }
    let mut package = Package::new(source, task, tensors, load);
    package.notes.push(super::KEY_BIAS.into());
    if class == "ViTModel" {
        package.notes.push(
            "last_hidden_state is after the final norm: its mean over patches is what `embed --norm final` makes"
                .into(),
        );
    }
    if task == Task::Pretraining && model.pixel_target == PixelTarget::PatchChannel {
        package.notes.push(
            "Transformers normalises a patch's target over all channels, this network was trained on channels apart: \
             the loss there means something else, predictions do not"
                .into(),
        );
    }
    package.texts = vec![
        ("config.json", format!("{:#}\n", Value::Object(config(source, task, class)))),
        ("preprocessor_config.json", format!("{:#}\n", preprocessor(model))),
        ("README.md", card::text(source, task, "transformers", load)),
    ];
    Ok(package)
}

fn config(source: &Source<'_>, task: Task, class: &str) -> Map<String, Value> {
    let model = source.model;
    let image = match model.image_height == model.image_width {
        true => json!(model.image_height),
        false => json!([model.image_height, model.image_width]),
    };
    let mut config = Map::new();
    let mut add = |key: &str, value: Value| config.insert(key.into(), value);
    add("architectures", json!([class]));
    add("model_type", json!(if class == "ViTMAEForPreTraining" { "vit_mae" } else { "vit" }));
    add("hidden_size", json!(model.width));
    add("num_hidden_layers", json!(model.depth));
    add("num_attention_heads", json!(model.heads));
    add("intermediate_size", json!(model.mlp_ratio * model.width));
    add("hidden_act", json!("gelu"));
    add("hidden_dropout_prob", json!(0.0));
    add("attention_probs_dropout_prob", json!(0.0));
    add("layer_norm_eps", super::preprocessing::short(model.layer_norm_eps).into());
    add("image_size", image);
    add("patch_size", json!(model.patch_size));
    add("num_channels", json!(model.channels));
    add("qkv_bias", json!(true));
    match (task, source.classifier) {
        (Task::Classes, Some(classifier)) => {
            let labels = classifier.classes.iter().enumerate();
            let ids: Map<String, Value> = labels.clone().map(|(id, name)| (id.to_string(), json!(name))).collect();
            add("id2label", Value::Object(ids));
            add("label2id", Value::Object(labels.map(|(id, name)| (name.clone(), json!(id))).collect()));
        }
        (Task::Pretraining, _) => {
            add("decoder_hidden_size", json!(model.pixel_decoder_width));
            add("decoder_num_hidden_layers", json!(model.decoder_depth));
            add("decoder_num_attention_heads", json!(model.pixel_decoder_heads()));
            add("decoder_intermediate_size", json!(model.mlp_ratio * model.pixel_decoder_width));
            add("mask_ratio", json!(model.masked as f64 / model.patches() as f64));
            add("norm_pix_loss", json!(model.pixel_target != PixelTarget::Raw));
        }
        _ => {}
    }
    config
}
