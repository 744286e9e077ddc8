//! The weights that pretraining begins with where it takes them from a checkpoint.

use crate::{
    checkpoint::Model,
    model::{ModelConfig, inventory, of_decoder},
    nn::Param,
    train::{config::RunConfig, snapshot::NamedTensor},
};

/// The branches behind an encoder, by what their parameters begin with, and what a person calls them.
const DECODERS: [(&str, &str); 2] =
    [("pixel_decoder.", "the pixel decoder"), ("feature_decoder.", "the feature decoder")];

/// A checkpoint's weights made fit for a run: without what pretraining has no use for, and with decoders from the seed where it
/// has none of this shape. Also what a person should know. Weights of the encoder stay as they are.
pub(super) fn fitted(mut from: Model, config: &RunConfig) -> (Model, Vec<String>) {
    let mut notes = differences(&from.config.model, &config.model);
    let wanted = inventory(&config.model);
    let fits = |tensors: &[NamedTensor], param: &Param| {
        tensors.iter().any(|tensor| tensor.name == param.name && tensor.shape == param.shape)
    };
    for (start, name) in DECODERS {
        let params: Vec<&Param> = wanted.iter().filter(|param| param.name.starts_with(start)).collect();
        let whole =
            from.config.model.kind == config.model.kind && params.iter().all(|param| fits(&from.tensors, param));
        if params.is_empty() || whole {
            continue;
        }
        let held = from.tensors.iter().any(|tensor| tensor.name.starts_with(start));
        let why = if held { "the checkpoint's is of another shape" } else { "the checkpoint has none" };
        notes.push(format!("{name} is drawn from the seed: {why}"));
        from.tensors.retain(|tensor| !tensor.name.starts_with(start));
        from.tensors.extend(params.into_iter().map(|param| drawn(param, config.training.seed)));
    }
    if !from.tensors.iter().any(|tensor| tensor.name.starts_with("norm.")) {
        notes.push("the encoder's final norm starts anew: the checkpoint has none".into());
        let norm = wanted.iter().filter(|param| param.name.starts_with("norm."));
        from.tensors.extend(norm.map(|param| drawn(param, config.training.seed)));
    }
    if from.tensors.iter().any(|tensor| tensor.name == "pos_embed") {
        notes.push("the checkpoint's own table of positions is not used: pretraining computes them".into());
    }
    // Of the encoder all is kept, so that one of another size is refused by the names that do not fit.
    from.tensors.retain(|NamedTensor { name, .. }| match of_decoder(name) {
        true => wanted.iter().any(|param| param.name == *name),
        false => !["pos_embed", "fc_norm.", "head."].iter().any(|start| name.starts_with(start)),
    });
    (from, notes)
}

fn drawn(param: &Param, seed: u64) -> NamedTensor {
    NamedTensor { name: param.name.clone(), shape: param.shape.clone(), data: param.initial(seed) }
}

/// In what an encoder would compute something else here than where its weights come from, though all shapes fit.
fn differences(from: &ModelConfig, to: &ModelConfig) -> Vec<String> {
    let mut notes = Vec::new();
    let mut differ = |setting: &str, held: String, here: String| {
        if held != here {
            notes.push(format!(
                "WARNING: the checkpoint was made with {setting} = {held}, this run has {here}; set it in --config to go on as \
                 it began"
            ));
        }
    };
    let text = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
    differ("model.heads", from.heads.to_string(), to.heads.to_string());
    let positions = |of: &ModelConfig| text(serde_json::to_string(&of.positions));
    differ("model.positions", positions(from), positions(to));
    let normalise = |of: &ModelConfig| text(serde_json::to_string(&of.normalise));
    differ("model.normalise", normalise(from), normalise(to));
    differ("model.crop_share", from.shown_share().to_string(), to.shown_share().to_string());
    differ("model.layer_norm_eps", format!("{:e}", from.layer_norm_eps), format!("{:e}", to.layer_norm_eps));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(preset: &str) -> Model {
        let config = RunConfig::preset(preset).unwrap();
        let tensors = inventory(&config.model).iter().map(|param| drawn(param, 7)).collect();
        Model { step: 3, config, tensors, teacher: None }
    }

    fn named<'m>(model: &'m Model, name: &str) -> &'m NamedTensor {
        model.tensors.iter().find(|tensor| tensor.name == name).unwrap()
    }

    #[test]
    fn a_checkpoint_of_the_same_network_is_taken_whole() {
        let from = model("nano");
        let (fit, notes) = fitted(from.clone(), &from.config);
        assert_eq!((fit, notes.len()), (from, 0));
    }

    #[test]
    fn an_encoder_of_mae_gets_decoders_from_the_seed() {
        let (mut from, to) = (model("mae-nano"), RunConfig::preset("nano").unwrap());
        from.tensors.retain(|tensor| !tensor.name.starts_with("norm."));
        for name in ["pos_embed", "head.weight", "fc_norm.bias"] {
            from.tensors.push(NamedTensor { name: name.into(), shape: vec![1], data: vec![0.0] });
        }
        let (fit, notes) = fitted(from.clone(), &to);
        assert_eq!(named(&fit, "blocks.5.mlp.fc2.weight"), named(&from, "blocks.5.mlp.fc2.weight"));
        let mut names: Vec<&str> = fit.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let wanted = inventory(&to.model);
        let mut all: Vec<&str> = wanted.iter().map(|param| param.name.as_str()).collect();
        names.sort_unstable();
        all.sort_unstable();
        assert_eq!(names, all, "what a run needs and nothing else");
        let head = wanted.iter().find(|param| param.name == "pixel_decoder.head.weight").unwrap();
        assert_eq!(named(&fit, &head.name).data, head.initial(to.training.seed));
        let all = notes.join("\n");
        for part in [
            "model.positions = \"columns\"",
            "normalise",
            "pixel decoder is drawn",
            "feature decoder",
            "norm",
            "table of",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }
}
