//! The model card of an exported folder.

use super::{Source, Task};
use crate::model::{Pool, config::Kind};

/// The text of README.md: what the network is, what it was trained on, and the line that opens it.
pub(super) fn text(source: &Source<'_>, task: Task, library: &str, load: &str) -> String {
    let (model, config) = (source.model, &source.checkpoint.config);
    let kind = if model.kind == Kind::Mae { "MAE" } else { "BootMAE" };
    let (what, pipeline) = match (task, source.classifier) {
        (Task::Classes, Some(classifier)) => {
            let (pool, count) = (classifier.pool, classifier.classes.len());
            let pool = if pool == Pool::Mean { "the mean of its patch tokens" } else { "its class token" };
            (format!("a classifier of {count} classes on {pool}, fine-tuned"), "image-classification")
        }
        (Task::Pretraining, _) => (format!("{kind} with its decoder, pretrained"), "image-feature-extraction"),
        _ => (format!("an encoder, pretrained as {kind}"), "image-feature-extraction"),
    };
    let data = config.data.source.replace(['\n', '\r', '`'], " ");
    let (mean, std) = (model.normalise.mean, model.normalise.std);
    format!(
        "---\nlibrary_name: {library}\npipeline_tag: {pipeline}\ntags:\n- vit\n---\n# A vision transformer of {} blocks and {} \
         columns\n\nIt is {what} by bootmae {} for {} steps on `{data}` ({} weights).\n\n- Images: {}×{} pixels, {} channels, \
         patches of {}\n- Pixels: (value / 255 - mean) / std with mean {mean:?}, std {std:?}\n- Attention heads: {}; LayerNorm \
         epsilon: {:e}\n\nIt opens with\n\n```python\n{}\n```\n\nThe licence is for its author to choose: add `license:` above.\n",
        model.depth,
        model.width,
        env!("CARGO_PKG_VERSION"),
        source.checkpoint.step,
        source.weights(),
        model.image_height,
        model.image_width,
        model.channels,
        model.patch_size,
        model.heads,
        model.layer_norm_eps,
        opening(library, load),
    )
}

/// The lines that open it from the folder that the card is in.
fn opening(library: &str, load: &str) -> String {
    let load = load.replace("{}", ".");
    match library {
        "timm" => format!("import timm\nmodel = {load}"),
        _ => {
            let class = load.split('.').next().unwrap_or_default();
            format!(
                "from transformers import AutoImageProcessor, {class}\nmodel = {load}\nprocessor = AutoImageProcessor.from_pretrained(\".\")"
            )
        }
    }
}
