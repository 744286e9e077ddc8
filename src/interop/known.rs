//! What is said of weights beside them: Hugging Face's `config.json` and `preprocessor_config.json`, timm's `config.json`, and
//! the description that this program writes. None of it sizes anything.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    data::Normalisation,
    model::config::{Kind, PixelTarget},
    text::shown,
};

/// What this program says of weights that it writes with the names of others, in what the tensors do not tell: JSON in the
/// metadata [`Description::KEY`] of a safetensors file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// What was pretrained.
    pub kind: Kind,
    /// Attention heads of the encoder.
    pub heads: usize,
    /// Attention heads of the pixel decoder, where it has not as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder_heads: Option<usize>,
    /// Epsilon inside the square root of every LayerNorm.
    pub layer_norm_eps: f32,
    /// What pixels are normalised by.
    pub normalise: Normalisation,
    /// The share of a picture's shorter side that evaluation shows, where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop_share: Option<f64>,
    /// Rows and columns of the grid that the table of positions is for; square without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<[usize; 2]>,
    /// What the pixel decoder predicts, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_target: Option<PixelTarget>,
    /// The classes by name, where there is a head.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

impl Description {
    /// The metadata that holds it.
    pub const KEY: &'static str = "bootmae";
}

/// The files of a folder of Hugging Face that stand beside the weights, as they are.
#[derive(Clone, Debug)]
pub struct Beside {
    /// `config.json`.
    pub config: Vec<u8>,
    /// `preprocessor_config.json`.
    pub processor: Option<Vec<u8>>,
}

/// Everything that is said beside the tensors.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) description: Option<Description>,
    /// `config.json`.
    config: Option<Value>,
    /// `preprocessor_config.json`.
    processor: Option<Value>,
}

impl Known {
    /// Takes the description from a file's metadata, if there is one.
    pub(super) fn described(&mut self, text: Option<&String>) -> Result<(), String> {
        let parse = |text: &String| serde_json::from_str(text).map_err(|e| format!("`{}`: {e}", Description::KEY));
        self.description = text.map(parse).transpose().map_err(|e| format!("the metadata {e}"))?;
        Ok(())
    }

    /// What a folder of Hugging Face says.
    pub(super) fn beside(Beside { config, processor }: &Beside) -> Result<Known, String> {
        let parse = |name: &str, text: &[u8]| match serde_json::from_slice::<Value>(text) {
            Ok(value) if value.is_object() => Ok(value),
            Ok(_) => Err(format!("{name} holds no object")),
            Err(e) => Err(format!("{name}: {e}")),
        };
        let processor = processor.as_ref().map(|text| parse("preprocessor_config.json", text)).transpose()?;
        Ok(Known { description: None, config: Some(parse("config.json", config)?), processor })
    }

    /// Whether there is a `config.json`.
    pub(super) fn has_config(&self) -> bool {
        self.config.is_some()
    }

    fn field(&self, name: &str) -> Option<&Value> {
        self.config.as_ref()?.get(name).filter(|value| !value.is_null())
    }

    /// Refuses what `config.json` says otherwise than the tensors.
    pub(super) fn agrees(&self, name: &str, tensors: usize) -> Result<(), String> {
        let agrees = match self.field(name) {
            None => true,
            Some(Value::Array(both)) => both.iter().all(|value| value.as_u64() == Some(tensors as u64)),
            Some(value) => value.as_u64() == Some(tensors as u64),
        };
        if agrees {
            return Ok(());
        }
        let said = self.field(name).map(Value::to_string).unwrap_or_default();
        Err(format!(
            "config.json says {name} {}, the tensors {tensors}; one of the two files is another's",
            shown(&said)
        ))
    }

    /// A count in `config.json`.
    pub(super) fn count(&self, name: &str) -> Result<Option<usize>, String> {
        let count = |value: &Value| {
            let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
            count.ok_or_else(|| format!("config.json: {name} is {}, no count", shown(&value.to_string())))
        };
        self.field(name).map(count).transpose()
    }

    /// The epsilon of LayerNorms in `config.json`.
    pub(super) fn eps(&self) -> Result<Option<f32>, String> {
        let eps = |value: &Value| {
            let eps = value.as_f64().map(|eps| eps as f32).filter(|eps| *eps > 0.0 && *eps < 1.0);
            eps.ok_or_else(|| format!("config.json: layer_norm_eps is {}", shown(&value.to_string())))
        };
        self.field("layer_norm_eps").map(eps).transpose()
    }

    /// Whether the decoder predicts normalised patches, if `config.json` says.
    pub(super) fn norm_pix_loss(&self) -> Option<bool> {
        self.field("norm_pix_loss")?.as_bool()
    }

    /// Refuses activations other than GELU.
    pub(super) fn check_activation(&self) -> Result<(), String> {
        match self.field("hidden_act") {
            Some(Value::String(name)) if name == "gelu" => Ok(()),
            Some(other) => {
                Err(format!("config.json says hidden_act {}; networks have GELU here", shown(&other.to_string())))
            }
            None => Ok(()),
        }
    }

    /// The names of so many classes: of the description, or of `id2label`; numbers where nothing is said.
    pub(super) fn classes(&self, count: usize) -> Result<Vec<String>, String> {
        let described = self.description.as_ref().map(|description| &description.classes);
        if let Some(classes) = described.filter(|classes| !classes.is_empty()) {
            return match classes.len() == count {
                true => Ok(classes.clone()),
                false => Err(format!("the metadata names {} classes, the head has {count}", classes.len())),
            };
        }
        let numbers = || (0..count).map(|class| class.to_string()).collect();
        let Some(Value::Object(labels)) = self.field("id2label") else { return Ok(numbers()) };
        if labels.len() != count {
            return Err(format!("config.json names {} classes (id2label), the head has {count}", labels.len()));
        }
        let name = |class: usize| labels.get(&class.to_string())?.as_str().map(str::to_owned);
        let names: Option<Vec<String>> = (0..count).map(name).collect();
        names.ok_or_else(|| "config.json: id2label does not name every class from 0 on".into())
    }

    /// The share of a picture's shorter side that evaluation shows, if anything says so, and what does: the description, the
    /// processor, where it cuts out the middle, or timm's `config.json`.
    pub(super) fn crop_share(&self) -> Option<(f64, &'static str)> {
        let of_processor = self.processor.as_ref().and_then(|processor| {
            let side = |key: &str, part: &str| processor.get(key)?.get(part)?.as_f64();
            let cuts = processor.get("do_center_crop").and_then(Value::as_bool) == Some(true);
            let (crop, shorter) = (side("crop_size", "height")?, side("size", "shortest_edge")?);
            cuts.then_some(crop / shorter)
        });
        let described = self.description.as_ref().and_then(|description| description.crop_share);
        let timm = || self.field("pretrained_cfg")?.get("crop_pct")?.as_f64();
        let said = [(described, "the metadata"), (of_processor, "preprocessor_config.json"), (timm(), "config.json")];
        said.into_iter().find_map(|(share, place)| Some((share.filter(|share| (0.01..=1.0).contains(share))?, place)))
    }

    /// What pixels are normalised by, and who says so: `preprocessor_config.json`, the description, or timm's
    /// `config.json`.
    pub(super) fn normalisation(&self) -> Result<Option<(Normalisation, &'static str)>, String> {
        if let Some(processor) = &self.processor {
            let name = "preprocessor_config.json";
            if processor.get("do_normalize").and_then(Value::as_bool) == Some(false) {
                return Ok(Some((Normalisation { mean: [0.0; 3], std: [1.0; 3] }, name)));
            }
            if let (Some(mean), Some(std)) = (processor.get("image_mean"), processor.get("image_std")) {
                return numbers(mean, std, name).map(|found| Some((found, name)));
            }
        }
        if let Some(description) = &self.description {
            return Ok(Some((description.normalise, "the metadata")));
        }
        let timm = self.field("pretrained_cfg");
        match timm.and_then(|timm| timm.get("mean").zip(timm.get("std"))) {
            Some((mean, std)) => numbers(mean, std, "config.json").map(|found| Some((found, "config.json"))),
            None => Ok(None),
        }
    }

    /// What the evaluation of whoever trained this does otherwise.
    pub(super) fn remark(&self) -> Option<String> {
        let filter = self.processor.as_ref()?.get("resample")?.as_u64()?;
        let name = match filter {
            0 => "the nearest pixel",
            1 => "Lanczos",
            2 => "bilinear",
            3 => return None,
            _ => "another filter",
        };
        Some(format!(
            "preprocessor_config.json resizes images with {name} (resample {filter}); here it is bicubic, so that results \
             differ a little"
        ))
    }
}

/// Mean and deviation of a file.
fn numbers(mean: &Value, std: &Value, place: &str) -> Result<Normalisation, String> {
    let text = serde_json::json!({ "mean": mean, "std": std });
    let found = serde_json::from_value(text);
    found.map_err(|e| format!("{place}: the mean and deviation of pixels: {}", shown(&e.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(config: &str) -> Known {
        Known::beside(&Beside { config: config.into(), processor: None }).unwrap()
    }

    #[test]
    fn config_and_tensors_must_agree() {
        let known = known(r#"{"hidden_size": 32, "image_size": [32, 48], "patch_size": null, "hidden_act": "gelu"}"#);
        assert!(known.agrees("hidden_size", 32).is_ok() && known.agrees("patch_size", 9).is_ok());
        assert!(known.agrees("hidden_size", 33).unwrap_err().contains("says hidden_size 32, the tensors 33"));
        assert!(known.agrees("image_size", 32).is_err() && known.check_activation().is_ok());
    }

    #[test]
    fn other_activations_and_epsilons_are_refused() {
        assert!(known(r#"{"hidden_act": "quick_gelu"}"#).check_activation().unwrap_err().contains("quick_gelu"));
        assert_eq!(known(r#"{"layer_norm_eps": 1e-12}"#).eps(), Ok(Some(1e-12)));
        for eps in ["0", "-1", "\"x\"", "1e300"] {
            assert!(known(&format!(r#"{{"layer_norm_eps": {eps}}}"#)).eps().is_err(), "{eps}");
        }
        let beside = |config: &str, processor: Option<&str>| {
            Known::beside(&Beside { config: config.into(), processor: processor.map(Into::into) })
        };
        assert!(beside("[]", None).is_err() && beside("{}", Some("{")).is_err());
    }

    #[test]
    fn classes_are_named_or_numbered() {
        assert_eq!(known("{}").classes(2).unwrap(), ["0", "1"]);
        let named = known(r#"{"id2label": {"1": "dog", "0": "cat"}}"#);
        assert_eq!(named.classes(2).unwrap(), ["cat", "dog"]);
        assert!(named.classes(3).is_err());
        assert!(known(r#"{"id2label": {"1": "dog", "2": "cat"}}"#).classes(2).is_err());
    }

    #[test]
    fn normalisation_is_what_the_processor_says() {
        let of = |processor: &str| {
            Known::beside(&Beside { config: b"{}".to_vec(), processor: Some(processor.into()) }).unwrap()
        };
        let half = of(r#"{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2}"#);
        assert_eq!(half.normalisation().unwrap().unwrap().0, Normalisation::INCEPTION);
        assert!(half.remark().unwrap().contains("bilinear"));
        assert!(of(r#"{"image_mean": [0, 0, 0], "image_std": [0, 1, 1]}"#).normalisation().is_err());
        assert_eq!(of("{}").normalisation(), Ok(None));
        let timm = r#"{"pretrained_cfg": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}"#;
        assert_eq!(known(timm).normalisation().unwrap().unwrap().0, Normalisation::IMAGENET);
    }

    #[test]
    fn the_view_is_what_the_processor_or_timm_says() {
        let of = |processor: &str| {
            let beside = Beside { config: b"{}".to_vec(), processor: Some(processor.into()) };
            Known::beside(&beside).unwrap().crop_share().map(|(share, _)| share)
        };
        let sizes = r#""size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}"#;
        assert_eq!(of(&format!(r#"{{"do_center_crop": true, {sizes}}}"#)), Some(0.875));
        assert_eq!(of(&format!(r#"{{"do_center_crop": false, {sizes}}}"#)), None);
        assert_eq!(known(r#"{"pretrained_cfg": {"crop_pct": 0.9}}"#).crop_share(), Some((0.9, "config.json")));
        assert_eq!(known(r#"{"pretrained_cfg": {"crop_pct": -1}}"#).crop_share(), None);
    }
}
