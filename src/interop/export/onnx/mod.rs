//! An encoder, or a fine-tuned classifier, as an ONNX file.
//!
//! Operators are those of opset 17, which has LayerNormalization; GELU is spelt out with Erf. Inputs and outputs are 32-bit
//! floating point, and the number of images is free. In half precision patch embedding and blocks compute in halves, final
//! norm, pooling and head in 32 bits.

mod network;

use serde_json::json;

use network::Network;

use super::{Source, Task, preprocessor, tensors::fits_half};
use crate::{
    error::{Error, Result},
    formats::{
        onnx::{
            File, LIMIT, Values,
            messages::{ModelProto, OperatorSetIdProto, StringStringEntryProto},
        },
        tensors::Precision,
    },
    model::Pool,
};

/// The version of ONNX's operators.
const OPSET: i64 = 17;
/// The version of the format that came with it (ONNX 1.12).
const IR_VERSION: i64 = 8;

/// The file of a network.
///
/// # Errors
/// When the checkpoint lacks a tensor, a value is beyond half precision, or the file would be larger than the format allows.
pub fn file<'m>(source: &Source<'m>, task: Task, precision: Precision) -> Result<File<'m>> {
    let mut network = Network::new(source, precision);
    match task {
        Task::Features(features) => network.features(features)?,
        Task::Classes => network.classes()?,
        Task::Pretraining => {
            let reason = "an ONNX file has features or classes; --task features writes the encoder";
            return Err(Error::Config(reason.into()));
        }
    }
    let (graph, initializers) = network.graph.into_parts();
    for initializer in initializers.iter().filter(|initializer| initializer.precision == Precision::F16) {
        let values: &[f32] = match &initializer.values {
            Values::Float(values) => values,
            Values::Transposed(values, _) => values,
            Values::Int64(_) => &[],
        };
        fits_half(&initializer.name, values)?;
    }
    within(File { model: about(source, task, precision)?, graph, initializers }, LIMIT, precision)
}

/// The file, if it has fewer bytes than `limit`.
fn within(file: File<'_>, limit: u64, precision: Precision) -> Result<File<'_>> {
    let (gib, length) = (f64::from(1 << 30), file.length());
    if length < limit {
        return Ok(file);
    }
    let hint = if precision == Precision::F32 { "; --precision f16 halves it" } else { "" };
    let (held, most) = (length as f64 / gib, limit as f64 / gib);
    Err(Error::Config(format!("an ONNX file holds less than {most:.0} GiB, and this one would have {held:.2}{hint}")))
}

/// Everything of a file but its graph.
fn about(source: &Source<'_>, task: Task, precision: Precision) -> Result<ModelProto> {
    let (model, config) = (source.model, &source.checkpoint.config);
    let text = |value: &serde_json::Value| value.to_string();
    let mut entries = vec![
        ("preprocessor_config", text(&preprocessor(model))),
        ("network", serde_json::to_string(model).map_err(|e| Error::Config(format!("the network: {e}")))?),
        ("step", source.checkpoint.step.to_string()),
        ("weights", source.weights().into()),
        ("precision", if precision == Precision::F16 { "f16" } else { "f32" }.into()),
    ];
    let what = match (task, source.classifier) {
        (Task::Features(features), _) => {
            let norm = if features.plain_norm {
                "plain"
            } else if features.final_norm {
                "final"
            } else {
                "none"
            };
            let pool = if features.pool == Pool::Mean { "mean" } else { "cls" };
            entries.push(("task", "feature-extraction".into()));
            entries.push(("features", text(&json!({"pool": pool, "norm": norm, "blocks": features.blocks}))));
            format!("features of {} values", model.width)
        }
        (_, classifier) => {
            let classes = classifier.map(|classifier| &classifier.classes[..]).unwrap_or_default();
            entries.push(("task", "image-classification".into()));
            entries.push(("classes", text(&json!(classes))));
            format!("probabilities of {} classes", classes.len())
        }
    };
    let doc_string = format!(
        "A vision transformer of {} blocks and {} columns, trained by bootmae for {} steps on {}: from images of {}×{} pixels to {what}.",
        model.depth, model.width, source.checkpoint.step, config.data.source, model.image_height, model.image_width
    );
    let entry = |(key, value): (&str, String)| StringStringEntryProto { key: key.into(), value };
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string,
        graph: None,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: entries.into_iter().map(entry).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use prost::Message;

    use super::*;
    use crate::{
        checkpoint::Model,
        formats::onnx::messages::{GraphProto, TensorProto},
        interop::export::Features,
        model::{Pool, Whose, inventory},
        train::{config::RunConfig, snapshot::NamedTensor},
    };

    const EVERYTHING: Features = Features { blocks: 6, final_norm: true, pool: Pool::Mean, plain_norm: false };

    /// A network whose every value is drawn, biases and norms too.
    fn drawn() -> Model {
        let config = RunConfig::preset("nano").unwrap();
        let tensors = inventory(&config.model).into_iter().map(|mut param| {
            param.init = crate::nn::Init::Normal(0.1);
            NamedTensor { name: param.name.clone(), shape: param.shape.clone(), data: param.initial(3) }
        });
        Model { step: 7, tensors: tensors.collect(), config, teacher: None }
    }

    fn written(model: &Model, features: Features, precision: Precision) -> ModelProto {
        let source = Source::new(model, Whose::Student).unwrap();
        let mut bytes = Vec::new();
        file(&source, Task::Features(features), precision).unwrap().write(&mut bytes).unwrap();
        ModelProto::decode(&bytes[..]).unwrap()
    }

    fn constants(graph: &GraphProto) -> BTreeMap<&str, Vec<f32>> {
        let floats = graph.initializer.iter().filter(|constant| constant.data_type == TensorProto::FLOAT);
        floats.map(|constant| (&constant.name[..], bytemuck::pod_collect_to_vec(&constant.raw_data))).collect()
    }

    #[test]
    fn a_file_holds_every_value_of_the_encoder_with_its_bits() {
        let model = drawn();
        let graph = written(&model, EVERYTHING, Precision::F32).graph.unwrap();
        let held = constants(&graph);
        let own = |name: &str| &model.tensors.iter().find(|tensor| tensor.name == name).unwrap().data;
        let mut left: BTreeSet<&str> = held.keys().copied().collect();
        for tensor in model.tensors.iter().filter(|tensor| !crate::model::of_decoder(&tensor.name)) {
            let NamedTensor { name, shape, data } = tensor;
            let (first, columns) = (shape[0], data.len() / shape[0]);
            let (found, want) = match name.rsplit_once('.') {
                _ if name == "cls_token" => {
                    left.remove("pos_embed");
                    // The class token's position is zero.
                    (held["pos_embed"][..128].to_vec(), data.clone())
                }
                Some((at, "q_bias")) => {
                    let bias = format!("{at}.qkv.bias");
                    left.remove(&bias[..]);
                    let zeros = vec![0.0; data.len()];
                    (held[&bias[..]].clone(), [&data[..], &zeros, own(&format!("{at}.v_bias"))].concat())
                }
                Some((_, "v_bias")) => continue,
                _ if shape.len() == 2 => {
                    left.remove(&name[..]);
                    let turned = (0..data.len()).map(|at| data[at % first * columns + at / first]);
                    (held[&name[..]].clone(), turned.collect())
                }
                _ => {
                    left.remove(&name[..]);
                    (held[&name[..]].clone(), data.clone())
                }
            };
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&want), "{name}");
        }
        assert_eq!(left, ["attention_scale", "half", "one", "root_2"].into());
    }

    #[test]
    fn operators_stand_after_what_they_take_and_nothing_is_idle() {
        for (features, precision) in [
            (EVERYTHING, Precision::F32),
            (Features { pool: Pool::Cls, blocks: 2, ..EVERYTHING }, Precision::F16),
            (Features { final_norm: false, plain_norm: true, ..EVERYTHING }, Precision::F32),
        ] {
            let graph = written(&drawn(), features, precision).graph.unwrap();
            let inputs = graph.input.iter().map(|input| input.name.clone());
            let mut known: BTreeSet<String> = inputs.chain(graph.initializer.iter().map(|c| c.name.clone())).collect();
            let mut used: BTreeSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
            for node in &graph.node {
                assert!(node.input.iter().all(|name| known.contains(name)), "{}: {:?}", node.name, node.input);
                used.extend(node.input.iter().cloned());
                assert!(node.output.iter().all(|name| known.insert(name.clone())), "{} is there twice", node.name);
            }
            assert_eq!(known, used, "{features:?}");
        }
    }

    #[test]
    fn what_a_file_cannot_hold_is_refused() {
        let mut model = drawn();
        let source = Source::new(&model, Whose::Student).unwrap();
        let of = |source: &Source<'_>, task, precision| file(source, task, precision).unwrap_err().to_string();
        assert!(of(&source, Task::Classes, Precision::F32).contains("has no classifier"));
        let whole = file(&source, Task::Features(EVERYTHING), Precision::F32).unwrap();
        let (length, message) = (whole.length(), |file| within(file, 1 << 20, Precision::F32).unwrap_err().to_string());
        assert!(length > 1 << 20 && message(whole.clone()).contains("--precision f16 halves it"));
        assert!(within(whole, length + 1, Precision::F32).is_ok());
        assert!(Source::new(&model, Whose::Teacher).unwrap_err().to_string().contains("no teacher"));
        model.tensors.retain(|tensor| tensor.name != "blocks.3.mlp.fc1.bias");
        model.tensors[0].data[5] = 65_520.0;
        let source = Source::new(&model, Whose::Student).unwrap();
        let first = Task::Features(Features { blocks: 1, ..EVERYTHING });
        assert!(of(&source, first, Precision::F16).contains("`patch_embed.proj.weight` holds 65520"));
        assert!(
            of(&source, Task::Features(EVERYTHING), Precision::F32).contains("`blocks.3.mlp.fc1.bias` of shape [512]")
        );
    }
}
